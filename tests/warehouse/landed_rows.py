"""Result rows as they land in a warehouse: what the real engine made of pictures, and what else there is."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from old_rows import OLD_ROW

import streamapp.local
from streamapp.engine import open_engine
from streamapp.local.pictures import PictureServer
from streamapp.policy import load_policy
from streamapp.records import Event, SourcePosition, format_time
from streamapp.settings import load_settings

Row = dict[str, Any]

RESULTS_TOPIC = "content_moderation_profile-results_dev"
EVENTS_TOPIC = "modify_user"
START = datetime(2026, 11, 20, 10, 15, 0, 250_000, UTC)
# As producers write a time; that of the last one can't be read.
EVENT_TIMES = (
    "2026-11-20T10:14:57Z",
    "2026-11-20T10:14:57.5",
    "2026-11-20 05:14:57.521300-05:00",
    "2026-11-20 10:14:57 +",
)
SAMPLES = Path(streamapp.local.__file__).parent / "samples"


@dataclass(frozen=True)
class Landed:
    """A record of the results topic that was loaded. `offset` None: it did not come from Kafka."""

    row: Row
    offset: int | None
    partition: int = 0

    @property
    def metadata(self) -> Row | None:
        """RECORD_METADATA as the connector writes it."""
        if self.offset is None:
            return None
        position = {"topic": RESULTS_TOPIC, "partition": self.partition, "offset": self.offset}
        return position | {"key": self.row.get("UID"), "CreateTime": 1_795_000_000_000}


@cache
def engine_rows() -> Mapping[str, Row]:
    """Name → the row that NudeNet and the code around it make of that picture, or of its failure.

    The events stand at `modify_user[0]`, from offset 0 on, and were received a minute apart.
    """
    return asyncio.run(_engine_rows())


async def _engine_rows() -> Mapping[str, Row]:
    pictures: dict[str, bytes | Path] = {
        name: SAMPLES / name for name in ("coffee.jpg", "astronaut.jpg", "rocket.jpg", "chelsea.jpg")
    }
    pictures |= {"cut.jpg": (SAMPLES / "coffee.jpg").read_bytes()[:2000], "text.png": b"no picture"}
    settings = load_settings(
        {
            "STREAMAPP_MODELS": "nudenet",
            "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
            "STREAMAPP_DECODE_THREADS": "1",
            "STREAMAPP_DOWNLOAD_ATTEMPTS": "1",
        }
    )
    rows: dict[str, Row] = {}
    async with (
        PictureServer(pictures) as server,
        open_engine(settings, load_policy(settings.policy_file)) as engine,
    ):
        urls = {name: server.url_of(name) for name in [*pictures, "missing.jpg"]}
        urls |= {"private": "http://169.254.169.254/latest/meta-data", "file": "file:///etc/passwd"}
        for offset, (name, url) in enumerate(urls.items()):
            received_at = START + timedelta(minutes=offset)
            row = await engine.judge(
                Event(
                    str(100 + offset),
                    url,
                    f"user {offset}",
                    ("co", "br", "")[offset % 3],
                    _event_time(received_at),
                ),
                await engine.source.obtain(url),
                source=SourcePosition(EVENTS_TOPIC, 0, offset),
                received_at=received_at,
                started_s=time.monotonic() - 0.1 * offset,
            )
            rows[name] = json.loads(row.to_json())
    return rows


def _event_time(received_at: datetime) -> str:
    """As the producer writes it, three seconds before."""
    return f"{received_at - timedelta(seconds=3):%Y-%m-%d %H:%M:%S}"


def edited(row: Row, *, attributes: Row | None = None, provenance: Row | None = None, **keys: Any) -> Row:
    """The row with these keys of it, of its MODEL_ATTRIBUTES and of its PROVENANCE changed."""
    row = deepcopy(row) | keys
    row["MODEL_ATTRIBUTES"] |= attributes or {}
    if provenance:
        row["MODEL_ATTRIBUTES"]["PROVENANCE"] |= provenance
    return row


def provenance_of(row: Row) -> Row:
    """Its PROVENANCE; empty where it has none that is an object."""
    attributes = row.get("MODEL_ATTRIBUTES")
    provenance = attributes.get("PROVENANCE") if isinstance(attributes, dict) else None
    return provenance if isinstance(provenance, dict) else {}


def source_at(offset: int, partition: int = 1) -> Row:
    """A PROVENANCE.source."""
    return {"source": {"topic": EVENTS_TOPIC, "partition": partition, "offset": offset}}


def received(moment: datetime) -> Row:
    """The keys of a row whose event came at a time."""
    return {"MESSAGE_RECEIVE_TIME": format_time(moment), "EVENT_TIME": _event_time(moment)}


def landed_rows(now: datetime) -> Sequence[Landed]:
    """All that a results topic and its table may have.

    Args:
        now: when the rows of today were received; those of tomorrow a day later.
    """
    rows = [
        *engine_rows().values(),
        *_repeats(),
        *_of_other_models(),
        *_malformed(),
        *_of_today(now),
        OLD_ROW,
        OLD_ROW,
    ]
    landed = [Landed(row, offset=1000 + index) for index, row in enumerate(rows)]
    # Records 11 to 13 of this partition were refused.
    landed.append(Landed(edited(engine_rows()["rocket.jpg"], provenance=source_at(90)), 10, partition=1))
    landed.append(Landed(edited(engine_rows()["rocket.jpg"], provenance=source_at(91)), 14, partition=1))
    return landed


def unplaced_rows() -> Sequence[Landed]:
    """Rows that the old deployment's own loader wrote: the first two are the same one twice."""
    other = edited(OLD_ROW, UID="555")
    whole_second = edited(OLD_ROW, MESSAGE_RECEIVE_TIME="2022-06-21 02:18:05+00:00")
    return [Landed(row, offset=None) for row in (OLD_ROW, OLD_ROW, other, whole_second)]


def _repeats() -> list[Row]:
    """Further rows of events that have one, among them some that must not win."""
    rows = engine_rows()
    later = START + timedelta(hours=2)
    return [
        # A repeat after a crash: later, so it counts.
        edited(rows["coffee.jpg"], **received(later), TOTAL_DURATION=0.9),
        # Late: it lands after a row that was received later.
        edited(rows["astronaut.jpg"], **received(START - timedelta(hours=1)), TO_BE_MODERATED=True),
        # Received in the same microsecond: the higher offset counts.
        edited(rows["rocket.jpg"], TOTAL_DURATION=1.5),
        # The picture that was not there is, when a backfill looks again.
        edited(
            rows["chelsea.jpg"],
            **received(START + timedelta(days=1)),
            provenance={"source": provenance_of(rows["missing.jpg"])["source"], "backfill": "run-1"},
        ),
    ]


def _of_other_models() -> list[Row]:
    """Verdicts of CLIP, and of models that were added, enforced and in the shadow."""
    flagged, clean = engine_rows()["coffee.jpg"], engine_rows()["rocket.jpg"]
    clip = {"CLIP_STATUS": 0, "CLIP_PREDICTION_SUCCESS": True, "CLIP_DURATION": 0.2}
    enforced = {"clip": {"mode": "enforce"}, "nudenet": {"mode": "enforce"}}
    animals = {"PREDICTED_PRIMARY_CATEGORY": "animals, food"}
    violence = {"PREDICTED_PRIMARY_CATEGORY": "violence", "COUNTRY": None}
    return [
        edited(flagged, attributes=clip, provenance=source_at(0) | {"models": enforced}, **animals),
        edited(
            clean,
            attributes=clip | {"CLIP_TO_BE_MODERATED": True},
            provenance=source_at(1) | {"models": {"clip": {"mode": "shadow"}}},
            **violence,
        ),
        edited(
            clean,
            attributes=clip | {"CLIP_TO_BE_MODERATED": True},
            provenance=source_at(2) | {"models": enforced},
            TO_BE_MODERATED=True,
            **violence,
        ),
        # CLIP failed: no disagreement, and a person must look.
        edited(
            flagged,
            attributes=clip
            | {"CLIP_STATUS": 4, "CLIP_TO_BE_MODERATED": True, "CLIP_PREDICTION_SUCCESS": False},
            provenance=source_at(3) | {"models": enforced, "reason": "model_raised"},
            **animals,
        ),
        edited(flagged, provenance=source_at(4) | {"models": {"dark": _added("DARK", 0, "enforce")}}),
        edited(flagged, provenance=source_at(5) | {"models": {"dark": _added("DARK", 0, "shadow")}}),
        edited(
            clean,
            provenance=source_at(6)
            | {"models": {"dark": _added("DARK", 4, "enforce"), "blur": _added("BLUR", 4, "enforce")}},
            TO_BE_MODERATED=True,
        ),
        # Three key frames.
        edited(clean, attributes={"NN_UNSAFE_SCORES": "0.0100, 0.2400, 0.0900"}, provenance=source_at(7)),
    ]


def _added(prefix: str, status: int, mode: str) -> Row:
    columns = {"STATUS": status, "TO_BE_MODERATED": True, "PREDICTION_SUCCESS": status == 0, "DURATION": 0.01}
    return {"mode": mode, "columns": {f"{prefix}_{name}": value for name, value in columns.items()}}


def _malformed() -> list[Row]:
    """Rows with values of the wrong kind, and records that are no row at all."""
    row = engine_rows()["chelsea.jpg"]
    nothing: Row = dict.fromkeys(row)
    return [
        edited(
            row,
            attributes={
                "NN_STATUS": "abc",
                "NN_UNSAFE_SCORES": "x, 0.3000",
                "NN_DURATION": "slow",
                "MFD_STATUS": [],
            },
            provenance={"source": {"topic": EVENTS_TOPIC, "partition": "x", "offset": 1}, "models": 5}
            | {"frames": "none", "stages": [], "content": "big", "policy": None, "attempts": {"a": 1}},
            EVENT_TIME="soon",
            TOTAL_DURATION=None,
            COUNTRY=None,
            TO_BE_MODERATED=None,
        ),
        edited(
            row, attributes={"PROVENANCE": "none", "NN_UNSAFE_SCORES": None}, MESSAGE_RECEIVE_TIME="yesterday"
        ),
        edited(row, attributes={"PROVENANCE": {"models": {"dark": "on", "blur": {"columns": 7}}}}),
        nothing,
        row | {"MODEL_ATTRIBUTES": [1]},
        row | {"MODEL_ATTRIBUTES": "text"},
        row | {"MODEL_ATTRIBUTES": {}},
        # At the position of an event that has a row.
        row | {"UID": None},
        *(
            edited(row, provenance=source_at(30 + number), EVENT_TIME=text)
            for number, text in enumerate(EVENT_TIMES)
        ),
    ]


def _of_today(now: datetime) -> list[Row]:
    flagged, clean, missing = (engine_rows()[name] for name in ("coffee.jpg", "rocket.jpg", "missing.jpg"))
    rows = []
    # Tomorrow's, too: midnight may come before the views are asked.
    for partition, moment in ((1, now), (2, now + timedelta(days=1))):
        rows += [
            edited(flagged, provenance=source_at(20, partition), **received(moment)),
            edited(clean, provenance=source_at(21, partition), **received(moment)),
            edited(missing, provenance=source_at(22, partition), **received(moment)),
            edited(flagged, provenance=source_at(23, partition), **received(moment - timedelta(days=1))),
            # Judged on the day before and again: it counts on the second day.
            edited(
                flagged,
                provenance=source_at(24, partition),
                **received(moment - timedelta(days=1, minutes=1)),
            ),
            edited(flagged, provenance=source_at(24, partition), **received(moment)),
        ]
    return rows
