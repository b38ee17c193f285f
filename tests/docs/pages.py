"""The pages of docs/ as tests see them: console blocks, and the commands in them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUN_TIMEOUT_S = 300

_BLOCK = re.compile(r"^(<!-- runs -->\n)?```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ENDS_COMMAND = {"|", "||", "&&", ";", "&", "(", ")"}
_REDIRECTS = {">", ">>", "<", "2>", "2>&1"}
_MARK = "--- end of command ---"


@dataclass(frozen=True)
class Shown:
    """A command line of a page and what the page prints below it."""

    line: str
    output: str


def blocks(text: str, *, only_run: bool = False) -> list[list[Shown]]:
    """The console blocks of a page; a line after `$ ` is a command, `> ` goes on with it."""
    return [list(_commands(body)) for mark, body in _BLOCK.findall(text) if mark or not only_run]


def _commands(body: str) -> Iterator[Shown]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        first, *others = part.splitlines()
        rest = iter(others)
        output = []
        for line in rest:
            if not output and line.startswith("> "):
                first += "\n" + line.removeprefix("> ")
            else:
                output.append(line)
        yield Shown(first, "".join(f"{line}\n" for line in output))


def streamapp_calls(line: str) -> Iterator[list[str]]:
    """The arguments of every call of streamapp in a shell line, without variables and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    call: list[str] = []
    for token in (*lexer, ";"):
        if token not in _ENDS_COMMAND:
            call.append(token)
            continue
        while call and re.fullmatch(r"[A-Za-z_]\w*=.*", call[0], re.DOTALL):
            del call[0]
        if call and call[0] == "streamapp":
            yield _without_redirections(call[1:])
        call = []


def _without_redirections(tokens: list[str]) -> list[str]:
    kept: list[str] = []
    for before, token in zip(["", *tokens], tokens, strict=False):
        if token not in _REDIRECTS and before not in _REDIRECTS:
            kept.append(token)
    return kept


def run(page_blocks: list[list[Shown]], folder: Path, variables: Mapping[str, str]) -> list[str]:
    """Run all commands in one shell, in their order; what each prints, stderr among it."""
    lines = [shown.line for block in page_blocks for shown in block]
    script = "".join(f"{line}\necho '{_MARK}'\n" for line in lines)
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMAPP_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=kept | {"PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    *outputs, rest = done.stdout.split(f"{_MARK}\n")
    assert (len(outputs), rest) == (len(lines), ""), done.stdout
    return outputs
