"""`modify_user` events as the product's backend sends them, for local runs."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO

import msgspec

from streamapp.records import ANY_JSON, decoded


def make_event(
    user_id: str | None, image_url: str | None, *, username: str = "example_name", country: str = "co"
) -> bytes:
    """The JSON of an event (DESIGN §4) that happens now.

    Args:
        user_id: None leaves the key out.
        image_url: None or empty: the user removed the picture.
    """
    now = datetime.now(UTC)
    second = now.strftime("%Y-%m-%d %H:%M:%S")
    event = {
        "app_version_id": "2.17.0",
        "country": country,
        "device_id": None,
        "event_properties": {
            "action_time": second,
            "target_user_image_url": image_url,
            "target_user_name": username,
            "target_user_username": username,
            "target_user_id": user_id,
            "target_user_country": None,
            "target_user_locale": "en",
            "uid": user_id,
        },
        "event_time": second,
        "os_name": "android",
        "platform": "android",
        "session_id": None,
        "process_time": now.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "hour": str(now.hour),
    }
    if user_id is not None:
        event["user_id"] = user_id
    return json.dumps(event).encode()


def key_of(value: bytes) -> bytes | None:
    """The record's key: the event's user id; None where there is none to be read."""
    try:
        event = decoded(ANY_JSON, value)
    except msgspec.DecodeError:
        return None
    user_id = event.get("user_id") if isinstance(event, dict) else None
    if isinstance(user_id, bool) or not isinstance(user_id, str | int):
        return None
    return str(user_id).encode(errors="replace")


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a JSONL file as they are, without their line ends; blank lines are skipped."""
    for line in file:
        value = line.rstrip(b"\r\n")
        if value.strip():
            yield value
