"""`streamapp policy`: look at a policy, check one, compare two."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
from rich import box
from rich.table import Table
from rich.text import Text

from streamapp.errors import SettingsError
from streamapp.local.display import make_console
from streamapp.policy import DEFAULT_FILE, Policy, TaxonomyClass, load_policy
from streamapp.policy.changes import changes
from streamapp.settings import load_settings

# The word that stands for the policy in the package.
DEFAULT = "default"
EXIT_DIFFERENT = 1
EXIT_TROUBLE = 2


@click.group(
    "policy",
    epilog="""\b
Examples:
  streamapp policy show
  streamapp policy show --yaml > policy.yaml     a copy to edit
  streamapp policy check policy.yaml
  streamapp policy diff default policy.yaml
  STREAMAPP_POLICY_FILE=policy.yaml streamapp worker
""",
)
def command() -> None:
    """Thresholds, modes and categories: look at them, check a file, compare two.

    The policy is a YAML file, the one of the setting policy_file or else the one in the package, for which
    the word `default` stands.
    """


@command.command(
    "check",
    epilog="""\b
Examples:
  streamapp policy check
  streamapp policy check policy.yaml && echo fine
""",
)
@click.argument("file", required=False)
def check(file: str | None) -> None:
    """Check a policy file; without FILE the one that a worker would use.

    Every line that is wrong is listed with its reason, and the exit code is 1.
    """
    path = _chosen(file)
    click.echo(f"{path}: {_summary(load_policy(path))}.")


@command.command(
    "show",
    epilog="""\b
Examples:
  streamapp policy show
  streamapp policy show --json | jq .taxonomy.moderated_primaries
  streamapp policy show --yaml default > policy.yaml
""",
)
@click.argument("file", required=False)
@click.option("--json", "layout", flag_value="json", help="One JSON object, in the shape of the file.")
@click.option("--yaml", "layout", flag_value="yaml", help="The file as it is, comments included.")
def show(file: str | None, layout: Literal["json", "yaml"] | None) -> None:
    """Show a policy; without FILE the one that a worker would use."""
    path = _chosen(file)
    policy = load_policy(path)
    if layout == "json":
        click.echo(json.dumps(policy.content(), indent=2, ensure_ascii=False))
    elif layout == "yaml":
        click.echo(path.read_text("utf-8"), nl=False)
    else:
        _print(path, policy)


@command.command(
    "diff",
    epilog="""\b
Examples:
  streamapp policy diff default policy.yaml
  streamapp policy diff old.yaml new.yaml && echo the same
""",
)
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> None:
    """Say what is different in the policy NEW. Layout and comments don't count.

    Exits as diff does: 0 where nothing is different, 1 where something is, 2 where a file can't be used.
    """
    try:
        differences = changes(load_policy(_path(old)), load_policy(_path(new)))
    except SettingsError as exc:
        click.echo(f"streamapp: {exc}", err=True)
        raise SystemExit(EXIT_TROUBLE) from exc
    for difference in differences:
        click.echo(difference)
    if differences:
        raise SystemExit(EXIT_DIFFERENT)


def _chosen(file: str | None) -> Path:
    """The named file, else the worker's."""
    return _path(file) if file else load_settings().policy_file or DEFAULT_FILE


def _path(file: str) -> Path:
    return DEFAULT_FILE if file == DEFAULT else Path(file)


def _summary(policy: Policy) -> str:
    taxonomy = policy.taxonomy
    return (
        f"version {policy.version}, {len(taxonomy.classes)} classes, {len(taxonomy.primaries)} primary and "
        f"{len(taxonomy.secondaries)} secondary categories, sha256 {policy.sha256[:12]}…"
    )


def _print(path: Path, policy: Policy) -> None:
    console = make_console()
    console.print(Text(f"{path}\n{_summary(policy)}"), soft_wrap=True)
    console.print(_models(policy))
    console.print(_classes(policy))
    moderated = ", ".join(policy.taxonomy.moderated_primaries)
    console.print(Text(f"A class counts in a frame above {policy.taxonomy.min_class_probability:g}."))
    console.print(Text(f"Moderated primaries (red): {moderated}."))


def _models(policy: Policy) -> Table:
    table = Table(box=box.SIMPLE)
    for column in ("model", "mode", "a picture is to be moderated from"):
        table.add_column(column)
    for name, mode in policy.modes.items():
        thresholds: Sequence[str] = ()
        if name in policy.thresholds:
            thresholds = (f"{policy.thresholds[name]:g}",)
        elif name == "nudenet":
            unsafe = policy.nudenet.unsafe_thresholds.items()
            thresholds = [f"{threshold:g} {label}" for label, threshold in unsafe]
        table.add_row(Text(name), Text(mode, "yellow" if mode == "shadow" else ""), "\n".join(thresholds))
    return table


def _classes(policy: Policy) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("", justify="right")
    table.add_column("class", no_wrap=True)
    table.add_column("primary", no_wrap=True)
    table.add_column("secondaries", ratio=1)
    for index, one in enumerate(policy.taxonomy.classes):
        table.add_row(str(index), Text(one.name), _primary(policy, one), Text(", ".join(one.secondaries)))
    return table


def _primary(policy: Policy, one: TaxonomyClass) -> Text:
    return Text(one.primary, "red" if one.primary in policy.taxonomy.moderated_primaries else "")
