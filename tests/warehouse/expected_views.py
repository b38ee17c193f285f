"""What the analysts' views must answer, from the same rows in plain Python. Nothing here is SQL's."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from warehouse.landed_rows import Landed, Row, provenance_of

TODAY_COLUMNS = (
    "MESSAGE_RECEIVE_TIME",
    "UID",
    "USERNAME",
    "IMAGE_URL",
    "COUNTRY",
    "FLAGGED_BY",
    "FAILED_CLOSED_BY",
    "NN_UNSAFE_SCORE",
    "REASON",
    "REASON_SENTENCE",
    "PREDICTED_PRIMARY_CATEGORY",
    "PREDICTED_SECONDARY_CATEGORY",
    "SOURCE_TOPIC",
    "SOURCE_PARTITION",
    "SOURCE_OFFSET",
)
BUILT_IN = {"NN": "nudenet", "MFD": "mfd", "CLIP": "clip", "COOP": "coop"}


def moderation_events(landed: Iterable[Landed]) -> list[Row]:
    """One row per source event, with types."""
    groups: dict[Hashable, list[Landed]] = defaultdict(list)
    for one in landed:
        if is_row(one.row):
            groups[_event_key(one)].append(one)
    return [_event(max(group, key=_rank)) for group in groups.values()]


def to_be_moderated_today(events: Iterable[Row], today: date) -> list[Row]:
    return [
        {name: event[name] for name in TODAY_COLUMNS}
        for event in events
        if event["TO_BE_MODERATED"]
        and event["MESSAGE_RECEIVE_TIME"] is not None
        and event["MESSAGE_RECEIVE_TIME"].date() == today
    ]


def events_by_country_and_category(events: Iterable[Row]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[bool]] = defaultdict(list)
    for event in events:
        for category in (event["PREDICTED_PRIMARY_CATEGORY"] or "").split(", "):
            moment = event["MESSAGE_RECEIVE_TIME"]
            key = (moment and moment.date(), event["COUNTRY"] or "(unknown)", category or "(none)")
            groups[key].append(bool(event["TO_BE_MODERATED"]))
    return [
        {
            "DAY": day,
            "COUNTRY": country,
            "CATEGORY": category,
            "EVENTS": len(flags),
            "TO_BE_MODERATED": sum(flags),
        }
        | {"SHARE_TO_BE_MODERATED": sum(flags) / len(flags)}
        for (day, country, category), flags in groups.items()
    ]


def model_disagreement(events: Iterable[Row]) -> list[Row]:
    names = "NN_UNSAFE_SCORE PREDICTED_PRIMARY_CATEGORY PREDICTED_SECONDARY_CATEGORY "
    names += "PREDICTED_TOP3_PRIMARY_CATEGORY TO_BE_MODERATED POLICY_VERSION "
    names += "SOURCE_TOPIC SOURCE_PARTITION SOURCE_OFFSET"
    return [
        _chosen(event, "MESSAGE_RECEIVE_TIME UID IMAGE_URL COUNTRY")
        | {"FLAGGED_BY_ONLY": "NN" if event["NN_TO_BE_MODERATED"] else "CLIP"}
        | _chosen(event, names)
        for event in events
        if event["NN_STATUS"] == event["CLIP_STATUS"] == 0
        and event["NN_TO_BE_MODERATED"] is not event["CLIP_TO_BE_MODERATED"]
    ]


def status_counts_per_hour(events: Iterable[Row]) -> list[Row]:
    counts: Counter[tuple[Any, ...]] = Counter()
    for event in events:
        for model, status, *_ in _verdicts(event["MODEL_ATTRIBUTES"]):
            counts[_hour(event["MESSAGE_RECEIVE_TIME"]), model, status] += 1
    totals: Counter[tuple[Any, ...]] = Counter()
    for (hour, model, _), count in counts.items():
        totals[hour, model] += count
    return [
        {
            "HOUR": hour,
            "MODEL": model,
            "STATUS": status,
            "EVENTS": count,
            "SHARE": count / totals[hour, model],
        }
        for (hour, model, status), count in counts.items()
    ]


def duplicate_rows(landed: Iterable[Landed]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for one in landed:
        if is_row(one.row) and (source := _source(one.row)):
            groups[source].append(one.row)
    found = []
    for source, rows in groups.items():
        if len(rows) > 1:
            times = [_moment(row) for row in rows]
            verdicts = {row["TO_BE_MODERATED"] for row in rows}
            found.append(
                dict(zip(("SOURCE_TOPIC", "SOURCE_PARTITION", "SOURCE_OFFSET"), source, strict=True))
                | {"ROW_COUNT": len(rows)}
                | {"FIRST_MESSAGE_RECEIVE_TIME": min(times), "LAST_MESSAGE_RECEIVE_TIME": max(times)}
                | {"BACKFILL_ROWS": sum("backfill" in provenance_of(row) for row in rows)}
                | {"HAS_SAME_VERDICT": len(verdicts) == 1}
            )
    return found


def latency_percentiles(events: Iterable[Row]) -> list[Row]:
    groups: dict[datetime | None, list[Row]] = defaultdict(list)
    for event in events:
        if event["BACKFILL"] is None:
            groups[_hour(event["MESSAGE_RECEIVE_TIME"])].append(event)
    found = []
    for hour, group in groups.items():
        totals = [event["TOTAL_DURATION"] for event in group if event["TOTAL_DURATION"] is not None]
        waits = [wait for event in group if (wait := _event_to_row_s(event)) is not None]
        row: Row = {"HOUR": hour, "EVENTS": len(group)}
        for name, values in (("TOTAL_DURATION", totals), ("EVENT_TO_ROW", waits)):
            for percent in (50, 95, 99):
                row[f"{name}_P{percent}"] = float(np.percentile(values, percent)) if values else None
        found.append(row)
    return found


def is_row(row: Row) -> bool:
    return (
        row["UID"] is not None
        and row["MESSAGE_RECEIVE_TIME"] is not None
        and isinstance(row["MODEL_ATTRIBUTES"], dict)
    )


def _event_key(one: Landed) -> Hashable:
    if source := _source(one.row):
        return source
    if one.offset is not None:
        return one.partition, one.offset
    return tuple(one.row[name] for name in ("UID", "MESSAGE_RECEIVE_TIME", "IMAGE_URL"))


def _rank(one: Landed) -> tuple[datetime, int]:
    return _moment(one.row) or datetime.min, -1 if one.offset is None else one.offset


def _source(row: Row) -> tuple[str, int, int] | None:
    source = provenance_of(row).get("source") or {}
    partition, offset = source.get("partition"), source.get("offset")
    if isinstance(partition, int) and isinstance(offset, int):
        return source["topic"], partition, offset
    return None


def _event(one: Landed) -> Row:
    row, attributes, provenance = one.row, one.row["MODEL_ATTRIBUTES"], provenance_of(one.row)
    content, stages, policy = (
        value if isinstance(value := provenance.get(name), dict) else {}
        for name in ("content", "stages", "policy")
    )
    frames, score = provenance.get("frames"), attributes.get("NN_UNSAFE_SCORES") or ""
    asking = [verdict for verdict in _verdicts(attributes) if verdict[2] and verdict[3]]
    metadata = one.metadata or {}
    return {
        **dict(
            zip(
                ("SOURCE_TOPIC", "SOURCE_PARTITION", "SOURCE_OFFSET"), _source(row) or [None] * 3, strict=True
            )
        ),
        **_chosen(row, "UID USERNAME IMAGE_URL COUNTRY"),
        "EVENT_TIME": _read_time(row["EVENT_TIME"]),
        "MESSAGE_RECEIVE_TIME": _moment(row),
        **_chosen(
            row, "TOTAL_DURATION TO_BE_MODERATED PREDICTED_PRIMARY_CATEGORY PREDICTED_SECONDARY_CATEGORY"
        ),
        **_chosen(attributes, "PREDICTED_TOP3_PRIMARY_CATEGORY PREDICTED_TOP3_SECONDARY_CATEGORY"),
        "MODEL_VERSION": row["MODEL_VERSION"],
        **_model(attributes, "NN STATUS TO_BE_MODERATED DURATION"),
        "NN_UNSAFE_SCORE": max(
            (one for text in score.split(", ") if (one := _float(text)) is not None), default=None
        ),
        **_model(attributes, "MFD STATUS TO_BE_MODERATED DURATION"),
        **_model(attributes, "CLIP STATUS TO_BE_MODERATED DURATION"),
        **_model(attributes, "COOP STATUS DURATION"),
        "FLAGGED_BY": ", ".join(name for name, status, *_ in asking if status == 0) or None,
        "FAILED_CLOSED_BY": ", ".join(name for name, status, *_ in asking if status) or None,
        "REASON": provenance.get("reason"),
        "REASON_SENTENCE": provenance.get("reason_sentence"),
        "ATTEMPTS": _int(provenance.get("attempts")),
        "CONTENT_SHA256": content.get("sha256"),
        "CONTENT_MEDIA_TYPE": content.get("media_type"),
        "CONTENT_BYTES": content.get("bytes"),
        "WIDTH_PX": content.get("width_px"),
        "HEIGHT_PX": content.get("height_px"),
        "KEY_FRAMES": len(frames) if isinstance(frames, list) else None,
        "FRAMES_COMPLETE": provenance.get("frames_complete"),
        "FETCH_S": stages.get("fetch_s"),
        "DECODE_S": stages.get("decode_s"),
        "QUEUE_S": stages.get("queue_s"),
        "POLICY_VERSION": policy.get("version"),
        "POLICY_SHA256": policy.get("sha256"),
        "STREAMAPP_VERSION": provenance.get("streamapp"),
        "BACKFILL": provenance.get("backfill"),
        "MODEL_ATTRIBUTES": attributes,
        "RESULT_TOPIC": metadata.get("topic"),
        "RESULT_PARTITION": metadata.get("partition"),
        "RESULT_OFFSET": metadata.get("offset"),
    }


def _verdicts(attributes: Row) -> list[tuple[str, int | None, bool, bool]]:
    """Model, STATUS, TO_BE_MODERATED and whether it is enforced: the built-in ones, then the added."""
    provenance = attributes.get("PROVENANCE")
    models = provenance.get("models") if isinstance(provenance, dict) else None
    models = {
        name: model
        for name, model in (models if isinstance(models, dict) else {}).items()
        if isinstance(model, dict)
    }
    built_in = [
        (prefix, attributes, models.get(name, {}).get("mode")) for prefix, name in sorted(BUILT_IN.items())
    ]
    added = sorted(
        (key.removesuffix("_STATUS"), columns, model.get("mode"))
        for model in models.values()
        if isinstance(columns := model.get("columns"), dict)
        for key in columns
        if key.endswith("_STATUS")
    )
    return [
        (
            prefix,
            _int(columns.get(f"{prefix}_STATUS")),
            columns.get(f"{prefix}_TO_BE_MODERATED") is True,
            mode != "shadow",
        )
        for prefix, columns, mode in [*built_in, *added]
    ]


def _model(attributes: Row, names: str) -> Row:
    readers: dict[str, Callable[[Any], Any]] = {
        "STATUS": _int,
        "DURATION": _float,
        "TO_BE_MODERATED": lambda value: value,
    }
    prefix, *columns = names.split()
    return {f"{prefix}_{name}": readers[name](attributes.get(f"{prefix}_{name}")) for name in columns}


def _chosen(row: Row, names: str) -> Row:
    return {name: row.get(name) for name in names.split()}


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return None


def _moment(row: Row) -> datetime | None:
    return _read_time(row["MESSAGE_RECEIVE_TIME"])


def _read_time(text: str | None) -> datetime | None:
    """In UTC, where it names no zone, too; naive, as Snowflake's views have it."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _hour(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(minute=0, second=0, microsecond=0)


def _event_to_row_s(event: Row) -> float | None:
    if None in (event["EVENT_TIME"], event["MESSAGE_RECEIVE_TIME"], event["TOTAL_DURATION"]):
        return None
    waited_s: float = (event["MESSAGE_RECEIVE_TIME"] - event["EVENT_TIME"]).total_seconds()
    return waited_s + float(event["TOTAL_DURATION"])
