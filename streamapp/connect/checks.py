"""What is wrong with a connector's config: Connect's own findings, and three that it does not make."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_REFERENCE = re.compile(r"\$\{(env|dir):([^}]*)\}")
# How Kafka begins its findings; the value is the resolved one, which may be a secret.
_INVALID_VALUE = re.compile(r"Invalid value (.+?) for configuration ", re.DOTALL)

# What the connectors honour and do not list; a name that ends with a dot stands for all that begin with it.
_UNLISTED = {
    "com.snowflake.kafka.connector.": ("snowflake.jdbc.map", "snowflake.enable.schematization"),
    "io.debezium.connector.jdbc.": ("hibernate.",),
}
_SNOWFLAKE_KEY = "snowflake.private.key"
# Before a key's first line it makes other bytes of it, which are no key to any version of the connector.
_BREAKS_A_KEY = "AAAA"
# Connect's own for every connector: the converters' and the clients'. It lists those that it knows.
_OF_THE_FRAMEWORK = ("key.converter.", "value.converter.", "header.converter.")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one property."""

    key: str
    message: str


def find_problems(
    connector_class: str, config: Mapping[str, str], fields: Sequence[Mapping[str, Any]]
) -> list[Problem]:
    """What is wrong with a config, by property.

    1. What Connect and the connector say.
    2. References to what the worker does not have: Connect takes ``${env:…}`` itself for the value then.
    3. Properties that neither knows: it says nothing of them, and a misspelt one has no effect.

    Args:
        connector_class: of the connector.
        config: as it was sent.
        fields: as `ConnectClient.validate` returns them.
    """
    said = [
        Problem(key, _as_sent(text.removeprefix(f"{key}: "), config.get(key, ""), value))
        for key, value, errors in (
            (field["value"]["name"], field["value"]["value"], field["value"]["errors"]) for field in fields
        )
        for text in errors
    ]
    return sorted(
        {*said, *_unresolved(config, fields), *_unknown(connector_class, config, fields)},
        key=lambda problem: (problem.key, problem.message),
    )


def with_broken_key(config: Mapping[str, str]) -> dict[str, str] | None:
    """A config in whose key the Snowflake connector must find something wrong, if the worker has that key.

    The connector takes a reference that leads nowhere for one that is resolved later: it tries no login then,
    and finds nothing wrong. And Connect does not show what it put in, because that is a secret.

    Returns:
        None where the config has no such key, or names none by reference.
    """
    key = config.get(_SNOWFLAKE_KEY, "")
    if "${" not in key or "snowflake.authenticator" in config:
        return None
    return {**config, _SNOWFLAKE_KEY: _BREAKS_A_KEY + key}


def key_not_found(config: Mapping[str, str]) -> Problem:
    """That nothing was wrong with `with_broken_key`."""
    return Problem(
        _SNOWFLAKE_KEY, f"the Connect worker finds nothing for {config[_SNOWFLAKE_KEY]}; no login was tried"
    )


def _as_sent(text: str, sent: str, resolved: object) -> str:
    """A finding with the file's reference in place of what the worker put in for it."""
    if not _REFERENCE.search(sent):
        return text
    for value in (resolved, *_INVALID_VALUE.findall(text)):
        if isinstance(value, str) and value:
            text = text.replace(value, sent)
    return text


def secret_keys(fields: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The properties whose values must not be shown."""
    return frozenset(
        name for name, definition in _definitions(fields).items() if definition["type"] == "PASSWORD"
    )


def _definitions(fields: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By property; one that Connect refuses altogether has none."""
    definitions = [field["definition"] for field in fields]
    return {definition["name"]: definition for definition in definitions if definition is not None}


def _unresolved(config: Mapping[str, str], fields: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for field in fields:
        key = field["value"]["name"]
        value = field["value"]["value"]
        # A connector's own defaults have such forms as well.
        if key not in config or not isinstance(value, str):
            continue
        for provider, name in _REFERENCE.findall(value):
            if provider == "env":
                message = f"the Connect worker has no {name} in its environment, or may not read it"
            else:
                message = f"the Connect worker finds no file for {name}"
            yield Problem(key, message)


def _unknown(
    connector_class: str, config: Mapping[str, str], fields: Sequence[Mapping[str, Any]]
) -> Iterator[Problem]:
    # One that is listed without a definition has been refused, with an error that says why.
    listed = {field["value"]["name"] for field in fields}
    unlisted = [
        name for start, names in _UNLISTED.items() if connector_class.startswith(start) for name in names
    ]
    known = [*listed, *unlisted, *_OF_THE_FRAMEWORK]
    for key in config:
        if not _is_known(key, known):
            near = get_close_matches(key, [name for name in known if not name.endswith(".")], n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            yield Problem(key, f"neither Connect nor the connector knows this property{meant}")


def _is_known(key: str, known: Iterable[str]) -> bool:
    return any(key.startswith(name) if name.endswith(".") else key == name for name in known)
