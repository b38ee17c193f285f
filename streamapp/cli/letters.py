"""How dead letters look: a table, one whole, JSON. Their bytes are a user's: a terminal gets no raw one."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from streamapp.dead_letters.letter import DeadLetter
from streamapp.records import format_time

_PREVIEW_BYTES = 400
_HEX_BYTES_A_LINE = 16


def preview(letter: DeadLetter) -> DeadLetter:
    """The letter with as much of its value as a table shows."""
    value = None if letter.value is None else letter.value[:_PREVIEW_BYTES]
    return replace(letter, key=None, value=value, headers=[], message="")


def letter_table(letters: Sequence[tuple[DeadLetter, bool]], events_topic: str) -> Table:
    """Dead letters, each with whether it has been sent back, as a table that fits 100 columns."""
    # Expanded, so that the value gets the width that the others leave.
    table = Table(box=box.SIMPLE_HEAD, padding=0, expand=True)
    for name in ("position", "time (UTC)", "reason"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("source", overflow="fold", max_width=16)
    table.add_column("replays", justify="right", no_wrap=True)
    table.add_column("value", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    for letter, is_sent_back in letters:
        source = letter.source
        has_source_elsewhere = source.topic != events_topic
        table.add_row(
            letter.place,
            f"{letter.published_at:%Y-%m-%d %H:%M:%S}",
            Text(escaped(letter.reason)),
            Text(escaped(str(source)) if has_source_elsewhere else f"{source.partition}:{source.offset}"),
            f"{letter.replays} ✓" if is_sent_back else f"{letter.replays}  ",
            Text(_value_of(letter)),
        )
    return table


def letter_lines(letter: DeadLetter, *, is_sent_back: bool) -> Iterator[str]:
    """What is known of a dead letter, a line each; its value is not among it."""
    yield f"position   {letter.position}"
    yield f"time       {format_time(letter.published_at)}"
    yield f"reason     {escaped(letter.reason)}"
    yield f"message    {escaped(letter.message)}"
    yield f"source     {escaped(str(letter.source))}"
    yield f"replays    {letter.replays}{', sent back already' if is_sent_back else ''}"
    yield f"key        {'none' if letter.key is None else escaped(letter.key)}"
    for name, value in letter.headers:
        yield f"header     {escaped(name)} = {'none' if value is None else escaped(value)}"
    if letter.lacks is not None:
        yield f"value      {escaped(letter.lacks)}"
    else:
        yield f"value      {'none' if letter.value is None else f'{len(letter.value)} bytes'}"


def value_lines(value: bytes) -> Iterator[str]:
    """A value as text, escaped but for its own lines; as hex where it is no UTF-8."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        yield from hex_lines(value)
        return
    for line in text.split("\n"):
        yield escaped(line)


def hex_lines(value: bytes) -> Iterator[str]:
    """Bytes as `xxd` shows them: offset, hex, ASCII."""
    for start in range(0, len(value), _HEX_BYTES_A_LINE):
        part = value[start : start + _HEX_BYTES_A_LINE]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):47}  {characters}"


def letter_object(letter: DeadLetter, *, is_sent_back: bool) -> dict[str, Any]:
    """A dead letter for JSON: bytes that are no UTF-8 are base64, under a key that says so."""
    return {
        "position": _position_object(letter.position),
        "time": format_time(letter.published_at),
        "reason": letter.reason,
        "message": letter.message,
        "source": _position_object(letter.source),
        "replays": letter.replays,
        "is_sent_back": is_sent_back,
        **_bytes_object("key", letter.key),
        **_bytes_object("value", letter.value),
        "lacks": letter.lacks,
        "headers": [{"name": name, **_bytes_object("value", value)} for name, value in letter.headers],
    }


def escaped(content: str | bytes) -> str:
    """Text without control characters, line ends and what reverses its order: their escapes instead."""
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _value_of(letter: DeadLetter) -> str:
    if letter.lacks is not None:
        return f"({escaped(letter.lacks)})"
    return "(none)" if letter.value is None else escaped(letter.value)


def _position_object(position: Any) -> dict[str, Any]:
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}


def _bytes_object(name: str, content: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if content is None else content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content or b"").decode()}
