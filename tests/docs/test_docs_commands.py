"""What the pages of docs/ name exists: commands, options, settings, files; blocks marked as run do run."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from docs.pages import PAGES, ROOT, Shown, blocks, run, streamapp_calls

from streamapp.cli import group
from streamapp.settings.table import setting_rows
from streamapp.settings.variables import ENV_FILE_VARIABLE

SAMPLES = ROOT / "streamapp" / "local" / "samples"
SETTINGS = {row.variable for row in setting_rows()} | {ENV_FILE_VARIABLE}
# Measured values: their places are compared, not they. Scores, of 4 places, are compared.
MEASURED = re.compile(r"(?<![\w.])\d+\.\d{1,3}(?![\d.%\w])")
SCORE = re.compile(r"(?<![\w.])\d\.\d{4}(?!\d)")
SCORE_TOLERANCE = 0.03

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
pages_that_run = pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page.read_text("utf-8"), only_run=True)],
    ids=lambda page: page.stem,
)


def complaint(arguments: Sequence[str]) -> str | None:
    """Why a call of streamapp can't be; None where its command, options and values can.

    Click reads it as it would a real one and runs nothing; the files that it names need not be there.
    """
    command, rest = found_command(arguments)
    if command is None:
        return f"no command {rest[0]!r}"
    if rest in ([], ["--help"], ["-h"], ["--version"]) and isinstance(command, click.Group):
        return None
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
            command.make_context(command.name, rest)
    except click.exceptions.Exit:  # --help
        return None
    except click.UsageError as exc:
        return exc.format_message()
    return None


def found_command(words: Sequence[str]) -> tuple[click.Command | None, list[str]]:
    """The command that the first words name, and the words after them; None where there is none."""
    command: click.Command | None = group
    rest = list(words)
    while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z-]+", rest[0]):
        if rest[0].startswith("-"):
            break
        command = command.get_command(click.Context(command), rest[0])
        rest = rest if command is None else rest[1:]
    return command, rest


def option_names(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}


def inline_complaint(text: str) -> str | None:
    """The same of a call within a sentence, whose values may be placeholders."""
    command, words = found_command(text.split()[1:])
    if command is None:
        return f"no command {words[0]!r}"
    unknown = [w for w in re.findall(r"--[a-z-]+", " ".join(words)) if w not in option_names(command)]
    return f"no option {unknown[0]}" if unknown else None


@every_page
def test_every_command_of_a_console_block_exists_with_its_options(page: Path) -> None:
    lines = [shown.line for block in blocks(page.read_text("utf-8")) for shown in block]
    wrong = [(line, complaint(call)) for line in lines for call in streamapp_calls(line)]

    assert [(line, why) for line, why in wrong if why] == []


@every_page
def test_every_command_named_in_a_sentence_exists_with_its_options(page: Path) -> None:
    named = re.findall(r"`(streamapp [a-z][^`]*)`", page.read_text("utf-8"))

    assert [(text, why) for text in named if (why := inline_complaint(text))] == []


@every_page
def test_every_setting_that_is_named_exists(page: Path) -> None:
    # Roles and warehouses in Snowflake have such names, too.
    sql = "".join(file.read_text("utf-8") for file in (ROOT / "connect").rglob("*.sql"))
    named = set(re.findall(r"\bSTREAMAPP_[A-Z0-9_]*[A-Z0-9]\b(?!_?[*…<])", page.read_text("utf-8")))

    assert [name for name in sorted(named - SETTINGS) if not re.search(rf"\b{name}\b", sql)] == []


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)\s]+)\)", page.read_text("utf-8"))

    assert [link for link in links if not leads_somewhere(page, link)] == []


@every_page
def test_every_file_of_the_repository_that_is_named_exists(page: Path) -> None:
    folders = "streamapp|tests|benchmarks|connect|deploy|docs|tools"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text("utf-8"))
    made_by_the_reader = {"streamapp/models/added/dark.py"} if page.stem == "add-a-model" else set()

    assert [path for path in {*paths} - made_by_the_reader if not (ROOT / path).exists()] == []


def leads_somewhere(page: Path, link: str) -> bool:
    """The file is there, and has the heading where one is named."""
    name, _, heading = link.partition("#")
    target = (page.parent / unquote(name)).resolve() if name else page
    if not target.exists() or not heading:
        return target.exists()
    titles = re.findall(r"^#+ +(.*)$", target.read_text("utf-8"), re.MULTILINE)
    return heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages_that_run
def test_the_marked_blocks_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for sample in SAMPLES.glob("*.jpg"):
        shutil.copy(sample, tmp_path / "pictures")
    for env_file in (ROOT / "tests" / "data").glob("old-*.env"):
        shutil.copy(env_file, tmp_path)
    marked = blocks(page.read_text("utf-8"), only_run=True)
    shown = [one for block in marked for one in block]
    outputs = run(marked, tmp_path, {})

    for one, output in zip(shown, outputs, strict=True):
        assert is_as_shown(one, output), f"$ {one.line}\n{output}"


def is_as_shown(shown: Shown, output: str) -> bool:
    """Equal but for measured values and blanks; … stands for any text, scores are equal nearly."""
    wanted, found = map(squeezed, (shown.output, output))
    pattern = re.escape(SCORE.sub("score", wanted)).replace("…", ".*")
    if not re.fullmatch(pattern, SCORE.sub("score", found), re.DOTALL):
        return False
    if "…" in wanted:
        return True
    scores = zip(*(map(float, SCORE.findall(text)) for text in (wanted, found)), strict=True)
    return all(abs(old - new) <= SCORE_TOLERANCE for old, new in scores)


def squeezed(text: str) -> str:
    """Without the blanks and lines whose width measured values decide, and with a mark for those values."""
    text = MEASURED.sub("measured", re.sub(r"[─━]+", "-", text))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("STREAMAPP_GROUP=x streamapp results --all --json > rows.jsonl  # all", True),
        ("streamapp results --last 3 | head -1 && streamapp topics", True),
        ("streamapp results --last many", False),
        ("streamapp results --reason nothing", False),
        ("streamapp results --lost", False),
        ("cat x | streamapp resluts", False),
        ("streamapp topics && streamapp policy dif a b", False),
        ("streamapp policy diff default", False),
        ("streamapp", True),
        ("echo streamapp nothing", True),
    ],
)
def test_a_wrong_command_would_be_found(line: str, is_right: bool) -> None:
    found = [complaint(call) for call in streamapp_calls(line)]

    assert any(found) is not is_right


@pytest.mark.parametrize(
    ("shown", "output", "is_right"),
    [
        ("a 0.3038 0.080\n", "a   0.3040  12.1\n", True),
        ("a 0.3038\n", "a 0.4038\n", False),
        ("5 rows, 80.00%\n", "5 rows, 60.00%\n", False),
        ("5 rows\n", "6 rows\n", False),
        ("first\n…\nlast\n", "first\n1\n2\nlast\n", True),
        ("", "an error\n", False),
    ],
)
def test_wrong_output_would_be_found(shown: str, output: str, is_right: bool) -> None:
    assert is_as_shown(Shown("", shown), output) is is_right
