"""The settings as a table: for `streamapp settings` and for the README."""

from dataclasses import dataclass

from streamapp.settings.fields import Settings
from streamapp.settings.old_names import OLD_SETTINGS
from streamapp.settings.origins import show, variable_name


@dataclass(frozen=True, slots=True)
class SettingRow:
    """What there is to say of a setting, whatever its value.

    Attributes:
        variable: its name in the environment.
        old_name: the old deployment's name, or names with a multiplication sign; empty if it had none.
        default: as it would be written in `.env`; empty if there is none.
    """

    field: str
    variable: str
    old_name: str
    default: str
    description: str


def setting_rows() -> list[SettingRow]:
    """Every setting, in the order of `Settings`."""
    old_labels = {old.field: old.label for old in OLD_SETTINGS}
    return [
        SettingRow(
            field=name,
            variable=variable_name(name),
            old_name=old_labels.get(name, ""),
            default=show(info.default),
            description=info.description or "",
        )
        for name, info in Settings.model_fields.items()
    ]


def markdown_table() -> str:
    """The README's table, ending with a line break."""
    lines = ["| setting | default | old name | what it does |", "|---|---|---|---|"]
    for row in setting_rows():
        cells = (_code(row.variable), _code(row.default), _code(row.old_name), _escape(row.description))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _escape(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*").replace("_", r"\_")
