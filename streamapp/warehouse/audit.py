"""Holds what the topics say against what the warehouse has, and names what is missing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamapp.offset_set import OffsetSet
from streamapp.warehouse.landed import Landed, LandedEvents
from streamapp.warehouse.offsets import Offsets, count, minus
from streamapp.warehouse.published import Published


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of a check. Each of the offset sets is empty where all is well.

    Attributes:
        without_outcome: committed events that left neither row nor dead letter.
        aged: committed events without an outcome whose outcome retention may have deleted: nobody can tell.
        not_landed: records of the results topic that the landing table lacks, and Connect did not refuse.
        passed: of them those that Connect has passed: they will not come by themselves.
        refused: records that Connect wrote to its dead-letter topic, and that have not landed.
        not_in_table: rows that have landed and that the table does not show.
        not_in_view: source events of rows on the topic that moderation_events lacks, as it does where their
            records have not landed.
        events_twice: rows in moderation_events beyond one for each source event.
    """

    published: Published
    landed: Landed
    landed_events: LandedEvents
    without_outcome: Offsets
    aged: Offsets
    not_landed: Offsets
    passed: Offsets
    refused: Offsets
    not_in_table: Offsets
    not_in_view: Offsets
    events_twice: int

    @property
    def is_complete(self) -> bool:
        """Whether all that must be there is there."""
        lacking = (self.without_outcome, self.not_landed, self.refused, self.not_in_table, self.not_in_view)
        return not any(lacking) and not self.events_twice


def audit(
    published: Published,
    landed: Landed,
    landed_events: LandedEvents,
    *,
    refused: Offsets,
    passed_to: Mapping[int, int],
) -> Audit:
    """Compare.

    Args:
        published: what the topics hold.
        landed, landed_events: what the warehouse holds of it.
        refused: records of the results topic in Connect's dead-letter topic.
        passed_to: partition of the results topic → the offset that Connect goes on from.
    """
    events, results = published.events, published.results
    # A row that retention has deleted from the topic still counts where it has landed.
    without = minus(events.with_picture, results.sources, published.dead_letters, landed_events.offsets)
    not_landed = minus(results.records, landed.records)
    passed = {number: OffsetSet([(0, offset)]) for number, offset in passed_to.items() if offset}
    waiting = minus(not_landed, passed)
    return Audit(
        published,
        landed,
        landed_events,
        without_outcome=minus(without, events.aged),
        aged=minus(without, minus(without, events.aged)),
        not_landed=minus(not_landed, refused),
        passed=minus(not_landed, refused, waiting),
        refused=minus(not_landed, minus(not_landed, refused)),
        not_in_table=minus(results.rows, not_landed, landed.rows),
        not_in_view=minus(results.sources, landed_events.offsets),
        events_twice=landed_events.rows - count(landed_events.offsets),
    )
