"""Finds the plan of a run: the one that it was begun with, or a new one."""

import logging
from dataclasses import dataclass

from streamapp.backfill.plan import Plan, new_plan, options_digest, read_plan
from streamapp.backfill.ranges import Asked
from streamapp.backfill.source import Source
from streamapp.errors import BrokerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A run as its options ask for it.

    Attributes:
        asked: None: what the run was begun with.
        results_topic: None: likewise, or the workers' for a new run.
        only_reasons: events whose latest row has one of these reasons; empty: likewise, or all events.
    """

    run: str
    asked: Asked | None
    results_topic: str | None = None
    only_reasons: tuple[str, ...] = ()


def group_of(workers_group: str, run: str) -> str:
    """The consumer group that keeps a run's offsets; never the workers', whatever the id."""
    return f"{workers_group}-backfill-{run}"


async def find_plan(source: Source, request: Request, workers_results_topic: str) -> Plan:
    """The plan of a run that was begun before, or else a new one; nothing is committed yet.

    Raises:
        BrokerError: the run was begun with other options, or is not known and no range is given; the topic
            does not hold the range; the broker does not answer.
    """
    stored = read_plan(request.run, source.group, await source.committed())
    if stored is not None:
        _check_options(stored, request, workers_results_topic)
        return await _without_deleted(stored, source)
    if request.asked is None:
        raise BrokerError(
            f"The broker knows no run {request.run!r}; Kafka forgets the offsets of a group without members "
            "after 7 days (offsets.retention.minutes). Give --from or --offsets to begin one."
        )
    ranges = await source.find(request.asked)
    results_topic = request.results_topic or workers_results_topic
    return new_plan(request.run, results_topic, request.only_reasons, request.asked, ranges)


def _check_options(stored: Plan, request: Request, workers_results_topic: str) -> None:
    if request.asked is not None:
        results_topic = request.results_topic or workers_results_topic
        is_same = stored.digest == options_digest(results_topic, request.only_reasons, request.asked)
    else:
        is_same = (request.results_topic or stored.results_topic) == stored.results_topic and set(
            request.only_reasons or stored.only_reasons
        ) == set(stored.only_reasons)
    if not is_same:
        raise BrokerError(
            f"The run {stored.run!r} was begun with another range, --only-reason or results topic. "
            f"`streamapp backfill --run {stored.run}` goes on with it; another range needs another id."
        )


async def _without_deleted(stored: Plan, source: Source) -> Plan:
    plan = stored.without_deleted(await source.held())
    deleted = stored.offsets_left - plan.offsets_left
    if deleted:
        logger.warning(
            "Retention has deleted %d of the %d offsets of %s that the run %s had still to read.",
            deleted,
            stored.offsets_left,
            source.topic,
            stored.run,
        )
    return plan
