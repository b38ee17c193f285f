"""The table of all metrics. `make docs` puts it into the README."""

import os
from collections.abc import Callable, Iterable

from streamapp import __version__
from streamapp.agents.intake import KINDS
from streamapp.health import Conditions
from streamapp.metrics.metric import Metric, Read, Sample, Value, WorkerParts
from streamapp.models.runner import ModelRunner
from streamapp.reasons import Reason


def _one(read: Callable[[WorkerParts], Value]) -> Read:
    return lambda parts: [((), read(parts))]


def _by_network(read: Callable[[ModelRunner], Value]) -> Read:
    return lambda parts: [((runner.network.name,), read(runner)) for runner in parts.engine.ensemble.runners]


def _retries(parts: WorkerParts) -> Iterable[Sample]:
    if parts.engine.downloader is not None:
        for reason, count in parts.engine.downloader.retries.copy().items():
            yield (reason,), count


def _decoder_restarts(parts: WorkerParts) -> Iterable[Sample]:
    if parts.engine.decoders is not None:
        yield (), parts.engine.decoders.restarts


def _decoder_memory(parts: WorkerParts) -> Iterable[Sample]:
    if parts.engine.decoders is not None and os.path.exists("/proc/self/statm"):
        yield (), sum(_resident_bytes(pid) for pid in parts.engine.decoders.pids)


def _resident_bytes(pid: int) -> int:
    """Resident memory of another process; 0 where it has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def condition_samples(conditions: Conditions) -> list[Sample]:
    """The values of `READY`."""
    return [((name,), float(seen.holds)) for name, seen in conditions.items()]


READY = Metric(
    "streamapp_ready",
    "gauge",
    "1 where the condition of `/ready` holds, else 0.",
    lambda parts: condition_samples(parts.conditions()),
    ("condition",),
)

# Labels of the closed lists are there from the start, as 0.
METRICS = (
    Metric(
        "streamapp_info",
        "gauge",
        "Always 1; what runs.",
        lambda parts: [((__version__, parts.model_version), 1)],
        ("version", "model_version"),
    ),
    READY,
    Metric(
        "streamapp_events_total",
        "counter",
        "Events that have their outcome, by its kind.",
        lambda parts: [((kind.replace(" ", "_"),), parts.intake.outcomes[kind]) for kind in KINDS],
        ("outcome",),
    ),
    Metric(
        "streamapp_rows_without_verdict_total",
        "counter",
        "Rows that at least one model has no verdict for, by the reason.",
        lambda parts: [((reason,), parts.intake.reasons[reason]) for reason in Reason],
        ("reason",),
    ),
    Metric(
        "streamapp_event_seconds",
        "histogram",
        "From taking an event to the broker's having its outcome.",
        _one(lambda parts: parts.intake.outcome_s),
    ),
    Metric(
        "streamapp_events_in_flight",
        "gauge",
        "Events without an outcome.",
        _one(lambda parts: parts.intake.in_flight),
    ),
    Metric(
        "streamapp_events_in_flight_limit",
        "gauge",
        "How many there may be: EVENTS_IN_FLIGHT.",
        _one(lambda parts: parts.intake.events_in_flight),
    ),
    Metric(
        "streamapp_pictures_in_flight",
        "gauge",
        "Pictures downloaded and without an outcome.",
        _one(lambda parts: parts.intake.pictures),
    ),
    Metric(
        "streamapp_pictures_in_flight_limit",
        "gauge",
        "How many there may be: PICTURES_IN_FLIGHT.",
        _one(lambda parts: parts.intake.pictures_in_flight),
    ),
    Metric(
        "streamapp_events_unacked",
        "gauge",
        "Events taken and not yet acked, in flight or behind one that is.",
        _one(lambda parts: parts.intake.unacked),
    ),
    Metric(
        "streamapp_events_unacked_limit",
        "gauge",
        "How many there may be: UNACKED_EVENTS.",
        _one(lambda parts: parts.intake.unacked_events),
    ),
    Metric(
        "streamapp_oldest_unacked_seconds",
        "gauge",
        "Since the oldest of them was taken: what holds up the commits of its partition.",
        _one(lambda parts: parts.intake.oldest_unacked_s),
    ),
    Metric(
        "streamapp_queued_pictures",
        "gauge",
        "Pictures that wait between download and models.",
        _one(lambda parts: parts.ready.qsize()),
    ),
    Metric(
        "streamapp_fetch_seconds",
        "histogram",
        "Fetching a file or failing to, with its waits and retries.",
        _one(lambda parts: parts.download.fetch_s),
    ),
    Metric(
        "streamapp_fetch_retries_total",
        "counter",
        "Further attempts, by the reason that the one before failed for.",
        _retries,
        ("reason",),
    ),
    Metric(
        "streamapp_decode_seconds",
        "histogram",
        "Decoding a file, or finding that it can't be; with the wait for a decoder.",
        _one(lambda parts: parts.download.decode_s),
    ),
    Metric(
        "streamapp_decoder_restarts_total",
        "counter",
        "Decoder processes that were replaced: killed, crashed, out of memory.",
        _decoder_restarts,
    ),
    Metric(
        "streamapp_decoders_resident_memory_bytes",
        "gauge",
        "Resident memory of the decoder processes; the worker's own is `process_resident_memory_bytes`.",
        _decoder_memory,
    ),
    Metric(
        "streamapp_prepare_seconds",
        "histogram",
        "Preparing a picture's frames for all models.",
        _one(lambda parts: parts.download.prepare_s),
    ),
    Metric(
        "streamapp_model_queue_frames",
        "gauge",
        "Frames that wait for a batch.",
        _by_network(lambda runner: runner.queued),
        ("network",),
    ),
    Metric(
        "streamapp_model_queue_seconds",
        "histogram",
        "How long a frame waited for the start of its batch.",
        _by_network(lambda runner: runner.queue_s),
        ("network",),
    ),
    Metric(
        "streamapp_model_batch_frames",
        "histogram",
        "Frames in a batch.",
        _by_network(lambda runner: runner.lanes.batch_frames),
        ("network",),
    ),
    Metric(
        "streamapp_model_batch_seconds",
        "histogram",
        "Device time: how long a batch ran, copies and waiting for the device included.",
        _by_network(lambda runner: runner.lanes.batch_s),
        ("network",),
    ),
    Metric(
        "streamapp_model_failed_batches_total",
        "counter",
        "Batches on which the model raised, repeats in halves included.",
        _by_network(lambda runner: runner.lanes.failed_batches),
        ("network",),
    ),
    Metric(
        "streamapp_model_running_seconds",
        "gauge",
        "How long the longest of the batches that run now has run.",
        _by_network(lambda runner: runner.lanes.running_s),
        ("network",),
    ),
    Metric(
        "streamapp_publish_seconds",
        "histogram",
        "From giving a row to the producer to the broker's having it.",
        _one(lambda parts: parts.inference.publish_s),
    ),
    Metric(
        "streamapp_partitions",
        "gauge",
        "Partitions assigned to this worker.",
        _one(lambda parts: parts.consumer.partitions or 0),
    ),
    Metric(
        "streamapp_partition_lag_events",
        "gauge",
        "Events of the partition that are not committed; there once something was committed.",
        lambda parts: [((tp.topic, str(tp.partition)), lag) for tp, lag in parts.consumer.lags().items()],
        ("topic", "partition"),
    ),
    Metric(
        "streamapp_last_commit_timestamp_seconds",
        "gauge",
        "Unix time of the last commit; of the start before the first.",
        _one(lambda parts: parts.consumer.last_commit_at),
    ),
    Metric(
        "streamapp_rebalances_total",
        "counter",
        "Rebalances of the group that this worker took part in.",
        _one(lambda parts: parts.rebalances()),
    ),
    Metric(
        "streamapp_event_loop_lag_seconds",
        "histogram",
        "How much later than asked for the event loop came back.",
        _one(lambda parts: parts.pulse.lag_s),
    ),
)
