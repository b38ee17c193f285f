"""Rows as the old deployment printed them, and files of such rows."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from old_rows import OLD_ROW


def row(**changes: Any) -> dict[str, Any]:
    """The old row with other values; those of MODEL_ATTRIBUTES by their own names."""
    made = copy.deepcopy(OLD_ROW)
    for name, value in changes.items():
        (made if name in made else made["MODEL_ATTRIBUTES"])[name] = value
    return made


def write(path: Path, rows: Sequence[object]) -> Path:
    """One row a line; a text is a line as it is."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path
