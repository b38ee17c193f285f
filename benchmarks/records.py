"""Microseconds to read a modify_user event and to write a result row, ours beside others; one JSON line.

    python benchmarks/records.py [seconds per measurement]

Every contestant ends at the same: an event with its five fields checked and taken out, a row as UTF-8 JSON.
The bare codecs (orjson, json) check nothing: they show the least that a codec of theirs costs. Each figure is
the median of rounds of 1000; the contestants take turns, so that a slow moment of the machine hits all.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec
import orjson
from machine import machine_facts
from pydantic import BaseModel, create_model

from streamapp.local.events import make_event
from streamapp.records import ModelAttributes, ResultRow, format_time, read_event

CALLS_PER_ROUND = 1000

IMAGE_URL = "https://cdn.example.com/user/profile/7c754bea1aa6672b/5e459c67de6fec5d.png"
EVENT = make_event("37217839", IMAGE_URL)

PROVENANCE: dict[str, Any] = {
    "source": {"topic": "modify_user", "partition": 3, "offset": 41210},
    "content": {
        "sha256": "ab" * 32,
        "media_type": "image/png",
        "bytes": 81223,
        "width_px": 720,
        "height_px": 720,
    },
    "frames": [{"index": 0, "time_s": 0.0}],
    "models": {
        "nudenet": {
            "name": "320n",
            "weights_sha256": "cd" * 32,
            "precision": "fp32",
            "device": "cpu",
            "batch": 8,
            "mode": "enforce",
        }
    },
    "stages": {"fetch_s": 0.081, "decode_s": 0.006, "queue_s": 0.012, "nudenet_s": 0.018},
    "policy": {"version": "2026-11-22", "sha256": "ef" * 32},
    "reason": None,
    "attempts": 1,
    "streamapp": "0.1.0",
}


class EventProperties(BaseModel):
    """The part of an event that is read, as a pydantic model."""

    target_user_image_url: str | None = None
    target_user_name: str | None = None


class PydanticEvent(BaseModel):
    """An event as a pydantic model; the keys that are not read are passed over, as ours does."""

    user_id: str
    event_properties: EventProperties
    country: str | None = None
    event_time: str | None = None


def main(seconds: float) -> None:
    row = example_row()
    result = {
        "benchmark": "records",
        "unit": "us",
        "event_bytes": len(EVENT),
        "row_bytes": len(row.to_json()),
        "read_event": microseconds(readers(), seconds),
        "write_row": microseconds(writers(row), seconds),
        **machine_facts("msgspec", "orjson", "pydantic"),
    }
    print(json.dumps(result))


def readers() -> dict[str, Callable[[], object]]:
    """Ways to read the event."""
    return {
        "ours": lambda: read_event(EVENT),
        "pydantic_and_orjson": lambda: PydanticEvent.model_validate(orjson.loads(EVENT)),
        "pydantic": lambda: PydanticEvent.model_validate_json(EVENT),
        "orjson": lambda: orjson.loads(EVENT),
        "json": lambda: json.loads(EVENT),
    }


def writers(row: ResultRow) -> dict[str, Callable[[], object]]:
    """Ways to write the row; all give the same JSON."""
    values = msgspec.to_builtins(row)
    model = _pydantic_model("Row", values)(**values)
    made: dict[str, Callable[[], object]] = {
        "ours": row.to_json,
        "pydantic_and_orjson": lambda: orjson.dumps(model.model_dump()),
        "pydantic": lambda: model.model_dump_json().encode(),
        "orjson": lambda: orjson.dumps(values),
        "json": lambda: json.dumps(values, ensure_ascii=False).encode(),
    }
    for name, write in made.items():
        written = write()
        if not isinstance(written, bytes) or json.loads(written) != values:
            raise SystemExit(f"{name} writes another row.")
    return made


def example_row() -> ResultRow:
    """A row of a picture that NudeNet looked at."""
    attributes = ModelAttributes(
        NN_DURATION=0.053,
        NN_SAFE_SCORES="0.9127",
        NN_UNSAFE_SCORES="0.0873",
        NN_PREDICTION_SUCCESS=True,
        NN_STATUS=0,
        USER_ID="37217839",
        PROVENANCE=PROVENANCE,
    )
    return ResultRow(
        UID="37217839",
        USERNAME="example_name",
        IMAGE_URL=IMAGE_URL,
        COUNTRY="co",
        EVENT_TIME="2022-06-10 01:21:01",
        MESSAGE_RECEIVE_TIME=format_time(datetime(2022, 6, 21, 2, 18, 4, 776753, tzinfo=UTC)),
        TOTAL_DURATION=1.208,
        MODEL_ATTRIBUTES=attributes,
        PREDICTED_PRIMARY_CATEGORY="",
        PREDICTED_SECONDARY_CATEGORY="",
        MODEL_VERSION="1.0.0",
        TO_BE_MODERATED=False,
    )


def _pydantic_model(name: str, values: dict[str, Any]) -> type[BaseModel]:
    """A model with a field for each value; PROVENANCE stays a dict, as in ours."""
    fields: dict[str, Any] = {}
    for key, value in values.items():
        is_nested = isinstance(value, dict) and key != "PROVENANCE"
        fields[key] = (_pydantic_model(key, value) if is_nested else type(value), ...)
    return create_model(name, **fields)


def microseconds(contestants: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Per call, the median over rounds; the first round of each is not counted."""
    for call in contestants.values():
        _round_s(call)
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds * len(contestants)
    while not rounds["ours"] or time.perf_counter() < end:
        for name, call in contestants.items():
            rounds[name].append(_round_s(call))
    return {name: round(median(found) / CALLS_PER_ROUND * 1e6, 2) for name, found in rounds.items()}


def _round_s(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS_PER_ROUND):
        call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
