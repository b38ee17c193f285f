"""Result rows as a worker writes them, for the tests of what reads them."""

from typing import Any

from streamapp.local.outcomes import Outcome
from streamapp.records import ModelAttributes, ResultRow, SourcePosition

MOMENT = "2022-06-21 02:18:04.776753+00:00"


def make_row(source: SourcePosition, /, **changes: Any) -> ResultRow:
    """A row of a harmless 8 by 8 PNG; the changes are to its provenance, its attributes or itself."""
    provenance = {
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "content": {"sha256": "0", "media_type": "image/png", "bytes": 81, "width_px": 8, "height_px": 8},
        "frames": [{"index": 0, "time_s": 0.0}],
        "models": {"nudenet": {"name": "320n", "device": "cpu"}},
        "stages": {"fetch_s": 0.081, "queue_s": 0.0},
        "policy": {"version": "2026-11-22"},
        "reason": None,
        "streamapp": "0.1.0",
    }
    attributes: dict[str, Any] = {
        "NN_STATUS": 0,
        "NN_PREDICTION_SUCCESS": True,
        "NN_UNSAFE_SCORES": "0.0400",
        "USER_ID": "7",
    }
    row: dict[str, Any] = {
        "UID": "7",
        "USERNAME": "example_name",
        "IMAGE_URL": "https://cdn.example.com/7.png",
        "COUNTRY": "co",
        "EVENT_TIME": None,
        "MESSAGE_RECEIVE_TIME": MOMENT,
        "TOTAL_DURATION": 0.1,
        "PREDICTED_PRIMARY_CATEGORY": "",
        "PREDICTED_SECONDARY_CATEGORY": "",
        "MODEL_VERSION": "1.0.0",
        "TO_BE_MODERATED": False,
    }
    for name, value in changes.items():
        place = (
            row if name in row else attributes if name in ModelAttributes.__struct_fields__ else provenance
        )
        place[name] = value
    return ResultRow(**row, MODEL_ATTRIBUTES=ModelAttributes(**attributes, PROVENANCE=provenance))


def row_outcome(**changes: Any) -> Outcome:
    """The outcome of an event with such a row."""
    source = SourcePosition("modify_user", 0, 0)
    row = make_row(source, **changes)
    return Outcome(source, row.to_json(), row=row)


def dead_letter(reason: str, value: bytes = b"{", message: str = "No JSON.") -> Outcome:
    """The outcome of a record that is no event."""
    return Outcome(SourcePosition("modify_user", 0, 1), value, dead_letter=reason, message=message)
