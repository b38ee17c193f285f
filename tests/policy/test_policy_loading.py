"""A policy file that can't be used is refused with file, line and reason."""

import json
from pathlib import Path

import pytest

from streamapp.errors import SettingsError
from streamapp.policy import DEFAULT_FILE, load_policy

TEXT = DEFAULT_FILE.read_text("utf-8")
SMALL = """\
version: 2026-11-22
models:
  nudenet: {mode: enforce, unsafe_thresholds: {ANUS_EXPOSED: 0.25}}
  mfd: {mode: shadow, threshold: 0.5}
  clip: {mode: enforce}
  coop: {mode: enforce}
taxonomy:
  min_class_probability: 0.05
  moderated_primaries: [violence]
  classes:
    - name: animals
      primary: animals
      prompt: a photo of an animal.
      secondaries: [birds]
    - name: weapons
      primary: violence
      prompt: a photo of a weapon.
      secondaries:
        - guns
        - knives
  secondaries:
    birds: a photo of a bird.
    guns: a photo of a gun.
    knives: a photo of a knife.
"""


def refusal(folder: Path, content: str | bytes) -> str:
    """What is said of a file, without the folder."""
    file = folder / "policy.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SettingsError) as caught:
        load_policy(file)
    return str(caught.value).replace(f"{folder}/", "")


def small(old: str, new: str) -> str:
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)


def test_a_small_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(SMALL)
    policy = load_policy(file)

    assert policy.version == "2026-11-22"
    assert dict(policy.modes) == {"nudenet": "enforce", "mfd": "shadow", "clip": "enforce", "coop": "enforce"}
    assert policy.threshold("mfd") == 0.5
    assert [one.name for one in policy.taxonomy.classes] == ["animals", "weapons"]
    assert list(policy.taxonomy.secondaries) == ["birds", "guns", "knives"]


def test_a_model_is_added_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        small("  clip: {", "  blur: {mode: shadow, threshold: 0.8}\n  faces: {mode: enforce}\n  clip: {")
    )
    policy = load_policy(file)

    assert (policy.modes["blur"], policy.threshold("blur")) == ("shadow", 0.8)
    assert policy.modes["faces"] == "enforce"


def test_comments_and_layout_do_not_change_the_digest(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(load_policy().content(), ensure_ascii=False))
    assert load_policy(file).sha256 == load_policy().sha256
    file.write_text("# mine\n" + TEXT.replace("mode: enforce", "mode:   'enforce'  # yes"))
    assert load_policy(file).sha256 == load_policy().sha256


# What is replaced in SMALL, by what, the line that is told, and what is told of it.
WRONG = [
    ("mode: shadow, ", "mode: off, ", 4, "mfd.mode: must be 'enforce' or 'shadow'; found 'off'"),
    ("mode: shadow, ", "", 4, "models.mfd.mode: is missing"),
    ("threshold: 0.5", "threshold: 1.5", 4, "models.mfd.threshold: must be less than or equal to 1"),
    ("threshold: 0.5", "threshold: 0", 4, "models.mfd.threshold: must be greater than 0; found '0'"),
    ("threshold: 0.5", "threshold: nan", 4, "models.mfd.threshold: must be "),
    ("threshold: 0.5", "threshold: half", 4, "models.mfd.threshold: must be a valid number"),
    ("threshold: 0.5", "treshold: 0.5", 4, "models.mfd.treshold: no such key"),
    ("clip: {mode: enforce}", "clip: {mode: enforce, threshold: 0.5}", 5, "clip.threshold: no such key"),
    ("clip: {mode: enforce}", "clip: enforce", 5, "models.clip: must be a mapping"),
    ("  mfd: {", "  mdf: {", 2, "models.mfd: is missing"),
    ("ANUS_EXPOSED: 0.25", "ANUS_EXPOSED: 0.2", 3, "ANUS_EXPOSED: must be greater than or equal to 0.25"),
    ("ANUS_EXPOSED: 0.25", "ANUS: 0.25", 3, "unsafe_thresholds.ANUS: NudeNet has no class ANUS; it has"),
    ("{ANUS_EXPOSED: 0.25}", "{}", 3, "unsafe_thresholds: must not be empty"),
    ("min_class_probability: 0.05", "min_class_probability: 1", 8, "must be less than 1"),
    ("[violence]", "[violense]", 9, "[0]: there is no primary violense; did you mean violence?"),
    ("[violence]", "[violence, violence]", 9, "moderated_primaries[1]: violence is there already"),
    ("[violence]", "violence", 9, "moderated_primaries: must be a list"),
    ("secondaries: [birds]", "secondaries: [bird]", 14, "there is no secondary bird; did you mean birds?"),
    ("secondaries: [birds]", "secondaries: [[birds]]", 14, "classes[0].secondaries[0]: must be a text"),
    ("name: weapons", "name: animals", 15, "taxonomy.classes[1].name: animals is there already"),
    ("- knives", "- guns", 20, "taxonomy.classes[1].secondaries[1]: guns is there already"),
    ("        - knives\n", "", 23, "taxonomy.secondaries.knives: belongs to no class"),
    ("prompt: a photo of a weapon.", "prompt:", 17, "prompt: must be one line of text; found ''"),
    ("primary: violence", "primary: a, b", 16, "classes[1].primary: must be a name: words without commas"),
    ("    birds: a photo of a bird.\n", "", 14, "there is no secondary birds"),
    ("guns: a", "birds: a", 23, "taxonomy.secondaries.birds is there already, in line 22"),
    ("version: 2026-11-22\n", "", 1, "version: is missing"),
    ("version: 2026-11-22\n", "version: 1\ncategories: []\n", 2, "categories: no such key"),
    ("secondaries: [birds]", "secondaries: [birds", 15, "no valid YAML: "),
    ("  clip: {mode", "\tclip: {mode", 5, "no valid YAML: found character '\\t'"),
    ("  clip: {mode", "  [clip]: {mode", 5, "a key must be a text"),
    ("secondaries: [birds]", "secondaries: &own [birds, *own]", 14, "[1] is a YAML alias; write"),
]


@pytest.mark.parametrize(("old", "new", "line", "reason"), WRONG)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, reason: str
) -> None:
    told = refusal(tmp_path, small(old, new))
    lines = [one.strip() for one in told.splitlines()]
    assert any(one.startswith(f"policy.yaml:{line}: ") and reason in one for one in lines), told


RULES = """\
  extra_candidates:
    - with_primary: {with_primary}
      add:
        - {{secondary: {extra}, primary: {extra_primary}}}
  secondary_renames:
    - {{with_primary: {music}, secondary: {renamed}, becomes: {becomes}}}
  added_primaries:
    - {{with_secondary: {patriotic}, primary: {added}}}
"""
GOOD_RULES = {
    "with_primary": "animals",
    "extra": "guns",
    "extra_primary": "violence",
    "music": "animals",
    "renamed": "birds",
    "becomes": "guns",
    "patriotic": "birds",
    "added": "violence",
}


def with_rules(**changed: str) -> str:
    return small("  classes:\n", RULES.format(**(GOOD_RULES | changed)) + "  classes:\n")


def test_the_rules_of_a_small_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(with_rules())
    taxonomy = load_policy(file).taxonomy
    assert taxonomy.extra_candidates[0].add[0].secondary == "guns"
    assert taxonomy.secondary_renames[0].becomes == "guns"
    assert taxonomy.added_primaries[0].primary == "violence"


@pytest.mark.parametrize(
    ("name", "line", "noun"),
    [
        ("with_primary", 11, "primary"),
        ("extra", 13, "secondary"),
        ("extra_primary", 13, "primary"),
        ("music", 15, "primary"),
        ("renamed", 15, "secondary"),
        ("becomes", 15, "secondary"),
        ("patriotic", 17, "secondary"),
        ("added", 17, "primary"),
    ],
)
def test_a_rule_that_names_what_is_not_there_is_refused(
    tmp_path: Path, name: str, line: int, noun: str
) -> None:
    told = refusal(tmp_path, with_rules(**{name: "xyz"}))
    assert told.startswith(f"policy.yaml:{line}: taxonomy.")
    assert told.endswith(f": there is no {noun} xyz")


@pytest.mark.parametrize(
    ("line", "number", "told"),
    [
        ("        - {secondary: guns, primary: violence}\n", 14, "add[1].secondary: guns is there"),
        (
            "    - {with_primary: animals, secondary: birds, becomes: guns}\n",
            16,
            "birds beside animals is there",
        ),
        ("    - {with_secondary: birds, primary: violence}\n", 18, "violence with birds is there"),
    ],
)
def test_a_rule_that_stands_there_twice_is_refused(tmp_path: Path, line: str, number: int, told: str) -> None:
    text = with_rules()
    assert text.count(line) == 1
    found = refusal(tmp_path, text.replace(line, line * 2))
    assert found.startswith(f"policy.yaml:{number}: ")
    assert told in found


def test_a_primary_with_two_lists_of_extra_candidates_is_refused(tmp_path: Path) -> None:
    rule = "    - with_primary: animals\n      add:\n        - {secondary: guns, primary: violence}\n"
    found = refusal(tmp_path, with_rules().replace(rule, rule * 2))
    assert found == ("policy.yaml:14: taxonomy.extra_candidates[1].with_primary: animals is there already")


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = small("threshold: 0.5", "threshold: 2").replace("[birds]", "[bats]").replace("[violence]", "[war]")
    told = refusal(tmp_path, text).splitlines()
    assert told[0] == "4 problems in the policy:"
    assert [line.split(":")[1] for line in told[1:]] == ["4", "9", "14", "22"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "policy.yaml:1: the file is empty"),
        (b"# nothing\n", "policy.yaml:1: the file is empty"),
        (b"- a\n", "policy.yaml:1: the file: "),
        (b"version: 1\nmodels: \xff\n", "policy.yaml:2: is not UTF-8"),
        (b"a: 1\n---\nb: 2\n", "policy.yaml:2: no valid YAML: "),
        (b"a: !!python/object/apply:os.system [ls]\n", "policy.yaml:1: a: no such key"),
        (b"[" * 100_000, "policy.yaml:1: no valid YAML: nested too deeply"),
        (b"a: \x07\n", "policy.yaml:1: no valid YAML: "),
        (b"#" * (4 * 2**20 + 1), "policy.yaml has more than 4194304 bytes"),
    ],
    ids=["empty", "comment", "list", "latin", "documents", "python-tag", "deep", "control", "large"],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in refusal(tmp_path, content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.yaml can't be read as the policy: No such file"):
        load_policy(tmp_path / "missing.yaml")
    with pytest.raises(SettingsError, match="can't be read as the policy: Is a directory"):
        load_policy(tmp_path)
