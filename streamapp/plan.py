"""How many workers a load needs, and what they need: pure arithmetic on measured rates and the settings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from streamapp.errors import StreamappError
from streamapp.settings import Settings

PREPARED_FRAME_BYTES = 1_500_000
"""A frame, prepared for all models but MFD."""

MFD_FRAME_BYTES = 5_000_000
"""What MFD keeps of a frame beside that."""

PARTITIONS_PER_WORKER = 2
"""Room for twice the workers, and every worker has equally many."""

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in at the peak, and what a picture is like.

    Attributes:
        events_per_second: of the events topic.
        picture_share: of the events, those that carry a picture's URL; in (0, 1].
        frames_per_picture: key frames that the models see, mean; 1 for still pictures.
        fetch_s: of a download, mean, in seconds.
        picture_bytes: of a file, mean.
        host_share: of the pictures, those on the host that has most; 1 where all are on one CDN.
    """

    events_per_second: float
    picture_share: float = 1.0
    frames_per_picture: float = 1.0
    fetch_s: float = 0.5
    picture_bytes: float = 250_000.0
    host_share: float = 1.0

    @property
    def pictures_per_second(self) -> float:
        """Events that have a picture."""
        return self.events_per_second * self.picture_share

    @property
    def frames_per_second(self) -> float:
        """What the models must do."""
        return self.pictures_per_second * self.frames_per_picture


@dataclass(frozen=True, slots=True)
class Worker:
    """What one worker does, as it was measured.

    Attributes:
        images_per_second: frames that its models do in a second, from event to row.
        per_node: workers on one node.
        idle_bytes: resident memory of a worker, its decoders included, that has nothing to do.
    """

    images_per_second: float
    per_node: int = 1
    idle_bytes: float = 2.6e9


@dataclass(frozen=True, slots=True)
class Aims:
    """What the fleet must be able to do beyond the peak.

    Attributes:
        headroom: capacity beyond the peak, as a share of the peak.
        outage_s: how long all stood still before the catching up that is looked at.
        catch_up_s: longest time to work off such an outage while events go on coming; None: no aim.
        partitions: of the events topic, where that is fixed already.
        node_cost_per_hour: in any currency.
    """

    headroom: float = 0.3
    outage_s: float = 600.0
    catch_up_s: float | None = None
    partitions: int | None = None
    node_cost_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the load needs. "Busiest worker": the one with the most partitions, at the peak.

    Attributes:
        capacity_needed: frames a second that the fleet must be able to do.
        workers: smallest number that does.
        partitions: of the events topic.
        busy: share of its time that the busiest worker works.
        catch_up_s: time that the busiest worker takes to work off the outage while events go on coming.
        downloads_in_flight: a worker's, so that its models never wait for pictures.
        downloads_per_host: of those, the ones from the host that has most.
        uncommitted_events: those that a worker takes while dead URLs keep its partitions from committing.
        lag_threshold: events of lag for each worker, above which KEDA adds one.
        worker_mbit_per_s, fleet_mbit_per_s: of pictures, with the models at their full rate.
        memory_bytes: most that a worker takes (README, "Memory").
        cost_per_million: of pictures, with all nodes running at the peak's rate; None without a price.
        shortcomings: settings that do not let a worker reach its rate, with what to do.
    """

    capacity_needed: float
    workers: int
    nodes: int
    partitions: int
    busy: float
    catch_up_s: float
    downloads_in_flight: int
    downloads_per_host: int
    uncommitted_events: int
    lag_threshold: int
    worker_mbit_per_s: float
    fleet_mbit_per_s: float
    memory_bytes: float
    cost_per_million: float | None
    shortcomings: tuple[str, ...]


def plan(load: Load, worker: Worker, aims: Aims, settings: Settings) -> Plan:
    """Size a fleet for a load.

    1. The capacity: the peak with its headroom, or what the aim of catching up needs, whichever is more.
    2. Workers and partitions: the busiest worker carries its partitions' share.
    3. What follows from these for one worker and for all.

    Raises:
        StreamappError: the topic's partitions let too few workers share the work.
    """
    # 1.
    needed = load.frames_per_second * (1 + aims.headroom)
    if aims.catch_up_s is not None:
        needed = max(needed, load.frames_per_second * (1 + aims.outage_s / aims.catch_up_s))
    # 2.
    workers, partitions = _workers(needed, worker.images_per_second, aims.partitions)
    busy = load.frames_per_second * _up(partitions / workers) / partitions / worker.images_per_second
    # 3.
    nodes = _up(workers / worker.per_node)
    pictures_per_worker = worker.images_per_second / load.frames_per_picture
    events_per_worker = pictures_per_worker / load.picture_share
    mbit = pictures_per_worker * load.picture_bytes * 8 / 1e6
    downloads = _up(pictures_per_worker * load.fetch_s)
    per_host = _up(pictures_per_worker * load.fetch_s * load.host_share)
    uncommitted = _up(events_per_worker * settings.fetch_deadline_s)
    cost = aims.node_cost_per_hour
    return Plan(
        capacity_needed=needed,
        workers=workers,
        nodes=nodes,
        partitions=partitions,
        busy=busy,
        catch_up_s=aims.outage_s * busy / (1 - busy) if busy < 1 else math.inf,
        downloads_in_flight=downloads,
        downloads_per_host=per_host,
        uncommitted_events=uncommitted,
        lag_threshold=_up(events_per_worker * lag_seconds(settings)),
        worker_mbit_per_s=mbit,
        fleet_mbit_per_s=mbit * workers,
        memory_bytes=worker.idle_bytes + memory_bound_bytes(settings),
        cost_per_million=None
        if cost is None
        else nodes * cost / SECONDS_PER_HOUR / load.pictures_per_second * 1e6,
        shortcomings=tuple(_shortcomings(downloads, per_host, uncommitted, settings)),
    )


def memory_bound_bytes(settings: Settings) -> int:
    """The most that pictures take in a worker, beside what it takes when idle (README, "Memory")."""
    frame_bytes = PREPARED_FRAME_BYTES + (MFD_FRAME_BYTES if "mfd" in settings.models else 0)
    picture_bytes = settings.max_download_bytes + settings.max_key_frames * frame_bytes
    return (
        settings.downloads_in_flight * settings.max_download_bytes
        + settings.pictures_in_flight * picture_bytes
        + settings.decode_threads * settings.decode_memory_mb * 2**20
    )


def lag_seconds(settings: Settings) -> float:
    """Seconds of a worker's work that may stand as lag before another worker is wanted.

    A URL that never answers keeps its partition's offset where it is for FETCH_DEADLINE_S, although the
    events behind it are done: that much lag asks for no worker. Twice as much does.
    """
    return 2 * settings.fetch_deadline_s


def _workers(needed: float, images_per_second: float, partitions: int | None) -> tuple[int, int]:
    """The workers and the partitions, such that no worker's partitions are more than it can do."""
    workers = _up(needed / images_per_second)
    if partitions is None:
        return workers, workers * PARTITIONS_PER_WORKER
    per_worker = _down(images_per_second * partitions / needed)
    if per_worker < 1:
        raise StreamappError(
            f"{partitions} partitions let at most {partitions} workers share the work; this load needs "
            f"{workers}. Give the events topic {workers * PARTITIONS_PER_WORKER} partitions, or make a "
            "worker quicker."
        )
    return _up(partitions / per_worker), partitions


def _shortcomings(downloads: int, per_host: int, uncommitted: int, settings: Settings) -> Iterator[str]:
    """Settings that a worker would run into before its models do."""
    if downloads > settings.downloads_in_flight:
        yield (
            f"STREAMAPP_DOWNLOADS_IN_FLIGHT is {settings.downloads_in_flight}: the models would wait for "
            f"pictures. Set at least {downloads}."
        )
    if per_host > settings.downloads_per_host:
        yield (
            f"STREAMAPP_DOWNLOADS_PER_HOST is {settings.downloads_per_host}: the models would wait for the "
            f"host that has most of the pictures. Set at least {per_host}."
        )
    if uncommitted > settings.unacked_events:
        yield (
            f"STREAMAPP_UNACKED_EVENTS is {settings.unacked_events}: a URL in each partition that "
            f"never answers would stop a worker. Set at least {uncommitted}, or a shorter "
            "STREAMAPP_FETCH_DEADLINE_S."
        )


def _up(value: float) -> int:
    """Rounded up, at least 1; what floating point adds in the tenth place does not count."""
    return max(1, math.ceil(round(value, 9)))


def _down(value: float) -> int:
    """Rounded down, with the same tolerance."""
    return math.floor(round(value, 9))
