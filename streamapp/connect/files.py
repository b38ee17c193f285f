"""Connectors' files: a JSON object of a config, whose name is the connector's."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamapp.errors import ConnectError

_PREFIX = "streamapp-"
_VERSION = re.compile(r"-v\d+$")


@dataclass(frozen=True, slots=True)
class ConnectorFile:
    """A connector as a file has it.

    Attributes:
        path: the file.
        name: the connector's. Its offsets hang on it: another name loads everything again.
        config: property → value, secrets as references.
    """

    path: Path
    name: str
    config: dict[str, str]

    @property
    def connector_class(self) -> str:
        return self.config["connector.class"]


def read_connector_file(path: Path, name: str | None = None) -> ConnectorFile:
    """Read a connector's file.

    Args:
        path: the file.
        name: the connector's name; None: by the file's, ``snowflake-v2.json`` is streamapp-snowflake.

    Raises:
        ConnectError: it can't be read, or is no JSON object of texts with a connector.class; says where.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConnectError(f"The connector's file {path} can't be read: {exc}.") from exc
    except ValueError as exc:
        raise ConnectError(f"The connector's file {path} is no JSON: {exc}.") from exc
    if not isinstance(config, dict):
        raise ConnectError(f"The connector's file {path} must hold one JSON object: property → value.")
    for key, value in config.items():
        if not isinstance(value, str):
            raise ConnectError(
                f'{path}: the value of {key} must be a text, as all in Connect: "{json.dumps(value)}".'
            )
    if not config.get("connector.class"):
        raise ConnectError(f"{path}: connector.class is missing.")
    named = config.pop("name", None)
    chosen = name or named or connector_name(path)
    return ConnectorFile(path, chosen, config)


def connector_name(path: Path) -> str:
    """The connector's name for a file: streamapp- and the file's, without its ending and version."""
    return _PREFIX + _VERSION.sub("", path.stem)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{', '.join(repeated)} is there twice")
    return dict(pairs)
