"""From an event and its models' reports to its result row. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamapp import __version__
from streamapp.models.ensemble import ModelReport
from streamapp.obtain import Obtained
from streamapp.policy import Policy, row_to_be_moderated
from streamapp.records import Event, ModelAttributes, ResultRow, SourcePosition, format_time


@dataclass(frozen=True, slots=True)
class Composer:
    """What is the same in every row of a worker.

    Attributes:
        backfill: the id of the run whose rows these are; None: the worker's, of events as they come.
    """

    model_version: str
    policy: Policy
    backfill: str | None = None

    def compose(
        self,
        event: Event,
        source: SourcePosition | None,
        received_at: datetime,
        total_s: float,
        obtained: Obtained,
        reports: Sequence[ModelReport],
    ) -> ResultRow:
        """Put the row together (DESIGN §5).

        Args:
            source: None where the event did not come from Kafka.
            received_at: when the worker received the event.
            total_s: seconds from there to now.
            reports: of the models that are on; the others keep the row's defaults.
        """
        columns: dict[str, Any] = {}
        for report in reports:
            if _has_fields_of_its_own(report):
                columns |= _model_columns(report)
        verdicts = [report.outcome.verdict for report in reports if report.outcome.verdict is not None]
        attributes = ModelAttributes(
            **columns,
            USER_ID=event.user_id,
            PROVENANCE=self._provenance(source, obtained, reports),
        )
        return ResultRow(
            UID=event.user_id,
            USERNAME=event.username,
            IMAGE_URL=event.image_url,
            COUNTRY=event.country,
            EVENT_TIME=event.event_time,
            MESSAGE_RECEIVE_TIME=format_time(received_at),
            TOTAL_DURATION=round(total_s, 3),
            MODEL_ATTRIBUTES=attributes,
            PREDICTED_PRIMARY_CATEGORY=_joined(v.primary_categories for v in verdicts),
            PREDICTED_SECONDARY_CATEGORY=_joined(v.secondary_categories for v in verdicts),
            MODEL_VERSION=self.model_version,
            TO_BE_MODERATED=row_to_be_moderated(
                {report.name: report.outcome for report in reports}, self.policy.modes
            ),
        )

    def _provenance(
        self, source: SourcePosition | None, obtained: Obtained, reports: Sequence[ModelReport]
    ) -> dict[str, Any]:
        picture = obtained.picture
        reasons = [obtained.error.reason] if obtained.error else [r.reason for r in reports if r.reason]
        stages = {
            "fetch_s": obtained.fetch_s,
            "decode_s": obtained.decode_s,
            "prepare_s": obtained.prepare_s,
        }
        stages["queue_s"] = max((report.queue_s for report in reports), default=0.0)
        stages |= {f"{report.name}_s": report.outcome.duration_s for report in reports}
        return {
            "source": source
            and {"topic": source.topic, "partition": source.partition, "offset": source.offset},
            "content": _content(obtained),
            "frames": [
                {"index": frame.index, "time_s": round(frame.time_s, 3)}
                for frame in (picture.frames if picture else ())
            ],
            "frames_complete": picture is not None and picture.frames_complete,
            "models": {report.name: self._model(report) for report in reports},
            "detections": {report.name: report.detections for report in reports if any(report.detections)},
            "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
            "policy": {"version": self.policy.version, "sha256": self.policy.sha256},
            "reason": reasons[0].value if reasons else None,
            "reason_sentence": reasons[0].sentence if reasons else None,
            "attempts": obtained.attempts,
            "streamapp": __version__,
            **({} if self.backfill is None else {"backfill": self.backfill}),
        }

    def _model(self, report: ModelReport) -> dict[str, Any]:
        columns = {} if _has_fields_of_its_own(report) else {"columns": _model_columns(report)}
        return {
            "name": report.info.name,
            "weights_sha256": report.info.weights_sha256,
            "precision": report.info.precision,
            "device": report.info.device,
            "batch": report.batch,
            "mode": self.policy.modes[report.name],
            **columns,
        }


def _joined(categories: Iterable[Sequence[str]]) -> str:
    """The categories of all models as the row has them, none twice."""
    return ", ".join(dict.fromkeys(name for names in categories for name in names))


def _has_fields_of_its_own(report: ModelReport) -> bool:
    """Whether MODEL_ATTRIBUTES knows the model; one that was added has its columns in PROVENANCE."""
    return f"{report.outcome.prefix}_STATUS" in ModelAttributes.__struct_fields__


def _model_columns(report: ModelReport) -> dict[str, Any]:
    outcome = report.outcome
    columns: dict[str, Any] = {
        f"{outcome.prefix}_DURATION": round(outcome.duration_s, 3),
        f"{outcome.prefix}_PREDICTION_SUCCESS": outcome.succeeded,
        f"{outcome.prefix}_STATUS": outcome.status.value,
    }
    if outcome.moderates:
        columns[f"{outcome.prefix}_TO_BE_MODERATED"] = outcome.to_be_moderated
    if outcome.verdict is not None:
        columns |= outcome.verdict.columns
    return columns


def _content(obtained: Obtained) -> dict[str, Any] | None:
    if obtained.content is None:
        return None
    picture = obtained.picture
    return {
        "sha256": obtained.content.sha256,
        "media_type": picture.media_type if picture else None,
        "bytes": obtained.content.size_bytes,
        "width_px": picture.width_px if picture else None,
        "height_px": picture.height_px if picture else None,
    }
