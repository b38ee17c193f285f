"""What single values must look like, beyond their type and bound: pure functions for the fields."""

import os
import pkgutil
import re
from pathlib import Path

from streamapp.models import added

BUILT_IN_MODELS = ("nudenet", "mfd", "clip", "coop")
"""Names alone: the settings must load without the models' libraries. The registry says how each is made."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BROKER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535


def split_names(value: object) -> object:
    """Split a comma-separated text, spaces trimmed, empty parts dropped; anything else stays as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def upper(value: object) -> object:
    """Upper-case a text, so that a fixed choice is matched without regard to case."""
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    """Lower-case a text, so that a fixed choice is matched without regard to case."""
    return value.lower() if isinstance(value, str) else value


def expand_home(path: Path) -> Path:
    """Replace a leading ``~``; without a home folder the path stays as it is."""
    return Path(os.path.expanduser(path))


def check_brokers(value: str) -> str:
    """Normalise ``host:port, host:port``; IPv6 addresses stand in brackets.

    Raises:
        ValueError: there is none, or one is not host:port.
    """
    brokers = tuple(part.strip() for part in value.split(",") if part.strip())
    if not brokers:
        raise ValueError("must name at least one broker as host:port")
    for broker in brokers:
        match = _BROKER.fullmatch(broker)
        if match is None or not 1 <= int(match["port"]) <= _MAX_PORT:
            raise ValueError(f"must be host:port, comma-separated and without a scheme; {broker!r} is not")
    return ",".join(brokers)


def check_topic(value: str) -> str:
    """Let Kafka's own rule for topic names decide.

    Raises:
        ValueError: Kafka would refuse the name.
    """
    if _TOPIC.fullmatch(value) is None or value in {".", ".."}:
        raise ValueError("must be a topic name: 1 to 249 of the characters A-Z a-z 0-9 . _ -")
    return value


def check_ports(ports: tuple[str, ...]) -> tuple[str, ...]:
    """Make sure that each entry is a TCP port.

    Raises:
        ValueError: one is not.
    """
    for port in ports:
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _MAX_PORT):
            raise ValueError(f"must be ports from 1 to {_MAX_PORT}, comma-separated; {port!r} is not one")
    return ports


def known_models() -> tuple[str, ...]:
    """Every model by name: the built-in ones and the files of `streamapp.models.added`; imports none."""
    found = sorted(module.name for module in pkgutil.iter_modules(added.__path__))
    return (*BUILT_IN_MODELS, *(name for name in found if name not in BUILT_IN_MODELS))


def check_models(models: tuple[str, ...]) -> tuple[str, ...]:
    """Make sure that the models exist, each once; names are matched without regard to case.

    Raises:
        ValueError: none, an unknown one, or one twice.
    """
    names = tuple(name.lower() for name in models)
    known = known_models()
    if not names:
        raise ValueError(f"must name at least one model; this version has {', '.join(known)}")
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise ValueError(
            f"must name known models; {', '.join(unknown)} is not one; this version has {', '.join(known)}"
        )
    if len(set(names)) < len(names):
        raise ValueError("must name each model once")
    return names
