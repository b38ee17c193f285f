"""Faust's consumer with its waits bounded; the parent's own methods are replaced."""

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as faust_aiokafka
from source_events import Message

from streamapp.agents.consumer import BoundedConsumer


class UnconnectedConsumer(BoundedConsumer):
    """Has two events in flight and no broker; notes what is called."""

    max_wait_empty_s = 0.01

    def __init__(self) -> None:
        self.messages = [Message(0), Message(1)]
        self._unacked_messages = set(self.messages)
        self._with_outcome = set()
        self._seeks_wanted = 0
        self._seeks_done = 0
        self.calls: list[str] = []

    async def commit(self, *_: Any, **__: Any) -> bool:
        self.calls.append("commit")
        return True


async def test_events_that_do_not_end_are_given_up_after_the_bound_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait_as_faust_does(self: Any) -> None:
        while self._unacked_messages:
            # Swallows a cancellation, as Faust's wait for its own timeout does.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        await self.commit()

    monkeypatch.setattr(faust_aiokafka.Consumer, "wait_empty", wait_as_faust_does)
    consumer = UnconnectedConsumer()
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(consumer.wait_empty(), 10)

    assert not consumer._unacked_messages
    assert consumer.calls == ["commit"]
    assert "2 events could not be acked" in caplog.text


async def test_events_that_end_in_time_are_left_to_faust(monkeypatch: pytest.MonkeyPatch) -> None:
    async def end_at_once(self: Any) -> None:
        pass

    monkeypatch.setattr(faust_aiokafka.Consumer, "wait_empty", end_at_once)
    consumer = UnconnectedConsumer()
    await consumer.wait_empty()

    assert consumer._unacked_messages == set(consumer.messages)
    assert consumer.calls == []


async def test_a_commit_that_waits_for_a_broker_holds_up_no_orderly_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def commit_as_aiokafka_does(self: Any) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(faust_aiokafka.Consumer, "wait_empty", commit_as_aiokafka_does)
    consumer = UnconnectedConsumer()
    consumer._unacked_messages.clear()
    consumer.last_commit_s = 0.01
    await asyncio.wait_for(consumer.wait_empty(), 10)

    assert [record.getMessage() for record in caplog.records] == [
        "What is acked could not be committed: those events are delivered again."
    ]


async def test_an_ack_counts_once_and_only_for_an_event_that_has_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def let_through(self: Any, message: Message) -> bool:
        self.calls.append(f"ack {message.offset}")
        return True

    monkeypatch.setattr(faust_aiokafka.Consumer, "ack", let_through)
    consumer = UnconnectedConsumer()
    skipped, judged = consumer.messages
    consumer.permit_ack(judged)

    assert not consumer.ack(skipped)
    assert consumer.ack(judged)
    assert not consumer.ack(judged)
    assert consumer.calls == ["ack 1"]
    # Nobody waits for what Faust has skipped.
    assert skipped not in consumer._unacked_messages


class Flow:
    """Notes when it is stopped, as Faust's flow control."""

    def __init__(self, calls: list[str]) -> None:
        self.flow_control = self
        self._calls = calls

    def suspend(self) -> None:
        self._calls.append("suspend")

    def clear(self) -> None:
        self._calls.append("clear")


async def test_acks_are_committed_before_faust_forgets_them_those_too_that_come_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def forget(self: Any, revoked: Any) -> None:
        self.calls.append(f"forget {revoked}, left {self._acked}")

    late = [[8], []]

    async def commit(self: Any, *_: Any, **__: Any) -> bool:
        self.calls.append(f"commit {self._acked[3]}")
        self._acked[3] = late.pop(0)  # an ack that comes while the commit is on its way
        return True

    monkeypatch.setattr(faust_aiokafka.Consumer, "on_partitions_revoked", forget)
    monkeypatch.setattr(UnconnectedConsumer, "commit", commit)
    monkeypatch.setattr(faust_aiokafka.Consumer, "stop_flow", lambda self: self.calls.append("stop"))
    consumer = UnconnectedConsumer()
    consumer.app = Flow(consumer.calls)
    consumer._acked = {3: [7]}
    consumer._acked_index = {}
    await consumer.on_partitions_revoked({3})

    stopped, done = ["stop", "suspend", "clear"], ["commit [7]", "commit [8]"]
    assert consumer.calls == [*stopped, *done, "forget {3}, left {3: []}"]


async def test_acks_that_can_not_be_committed_hold_up_no_rebalance(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(self: Any, *_: Any, **__: Any) -> bool:
        self.calls.append("commit")
        return False

    async def forget(self: Any, revoked: Any) -> None:
        self.calls.append("forget")

    monkeypatch.setattr(faust_aiokafka.Consumer, "on_partitions_revoked", forget)
    monkeypatch.setattr(faust_aiokafka.Consumer, "stop_flow", lambda self: None)
    monkeypatch.setattr(UnconnectedConsumer, "commit", refused)
    monkeypatch.setattr("streamapp.agents.consumer.COMMIT_RETRY_S", 0.001)
    consumer = UnconnectedConsumer()
    consumer.app = Flow([])
    consumer._acked = {3: [7]}
    consumer._acked_index = {3: {7}}
    await asyncio.wait_for(consumer.on_partitions_revoked({3}), 10)

    assert consumer.calls.count("commit") > 1
    assert consumer.calls[-1] == "forget"
    assert not consumer._acked
    assert not consumer._acked_index


@pytest.mark.parametrize("fails", [False, True])
async def test_between_two_assignments_no_ack_counts_and_nothing_is_taken(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    acks: list[tuple[str, bool]] = []

    def ack(consumer: UnconnectedConsumer, when: str) -> None:
        message = Message(len(acks))
        consumer.permit_ack(message)
        acks.append((when, consumer.ack(message)))

    async def wait_for_events_in_flight(self: Any, *_: Any) -> None:
        ack(self, "in the revocation")

    async def take_over(self: Any, *_: Any) -> None:
        ack(self, "in the assignment")
        if fails:
            raise RuntimeError("a sensor's")

    parent = faust_aiokafka.Consumer
    monkeypatch.setattr(parent, "on_partitions_revoked", wait_for_events_in_flight)
    monkeypatch.setattr(parent, "on_partitions_assigned", take_over)
    monkeypatch.setattr(parent, "stop_flow", lambda self: None)
    monkeypatch.setattr(parent, "resume_flow", lambda self: self.calls.append("resume"))
    monkeypatch.setattr(parent, "ack", lambda self, message: True)
    consumer = UnconnectedConsumer()
    consumer.app = Flow([])
    consumer._acked, consumer._acked_index = {}, {}
    await consumer.on_partitions_revoked({3})
    ack(consumer, "between")
    # Of the assignment before, whose recovery comes late.
    consumer.resume_flow()
    assert (consumer.is_rebalancing, consumer.calls) == (True, [])
    with pytest.raises(RuntimeError) if fails else nullcontext():
        await consumer.on_partitions_assigned({3})
    ack(consumer, "assigned")
    consumer.resume_flow()

    assert acks == [
        ("in the revocation", True),
        ("between", False),
        ("in the assignment", False),
        ("assigned", True),
    ]
    assert (consumer.is_rebalancing, consumer.calls) == (False, ["resume"])


def test_a_partition_whose_position_is_being_asked_for_is_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = []

    def look(self: Any, now: float, tp: str) -> None:
        looked_at.append(tp)
        assert tp != "sought", "aiokafka's answer to a question for its position"

    monkeypatch.setattr(faust_aiokafka.Consumer, "verify_event_path", look)
    consumer = UnconnectedConsumer()
    for tp in ("sought", "known"):
        consumer.verify_event_path(0.0, tp)

    assert looked_at == ["sought", "known"]


class CommittingConsumer(UnconnectedConsumer):
    """Commits as Faust's does, to a broker that takes it or not; three partitions are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last_commit_at = 0.0
        self._committed_offset = {0: 30, 1: None, 2: None}
        self._ends = {0: 41, 1: 5, 2: 0, 3: None}

    def assignment(self) -> set[int]:
        return set(self._ends)

    @property
    def partitions(self) -> int | None:
        return len(self._ends)

    def highwater(self, tp: int) -> int | None:
        return self._ends[tp]


@pytest.mark.parametrize("is_taken", [True, False])
async def test_the_last_commit_is_the_last_that_the_broker_took(
    monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    async def answer(self: Any, offsets: Any) -> bool:
        return is_taken

    monkeypatch.setattr(faust_aiokafka.Consumer, "_commit", answer)
    consumer = CommittingConsumer()
    before = time.time()

    assert await consumer._commit({}) is is_taken
    assert (consumer.last_commit_at >= before) is is_taken


async def test_the_lag_is_what_is_not_committed_where_both_ends_are_known() -> None:
    assert CommittingConsumer().lags() == {0: 11, 2: 0}


async def test_before_the_start_there_is_no_broker_no_partition_and_no_lag() -> None:
    consumer = UnconnectedConsumer()
    consumer._thread = None

    assert (consumer.has_broker, consumer.partitions, consumer.lags()) == (False, None, {})


@pytest.mark.parametrize("comes", ["nothing", "a new assignment", "a revocation"])
async def test_records_of_a_fetch_that_a_rebalance_came_into_are_fetched_again(
    monkeypatch: pytest.MonkeyPatch, comes: str
) -> None:
    consumer = UnconnectedConsumer()

    async def seek_as_faust_does(self: Any) -> None:
        consumer.calls.append("seek")
        if consumer.calls.count("seek") == 1:
            raise KafkaConnectionError

    async def fetch(self: Any, *_: Any) -> dict[str, list[int]]:
        consumer.calls.append("fetch")
        if consumer.calls == ["fetch"]:
            if comes == "a new assignment":
                await consumer.perform_seek()
            consumer.flow_active = comes != "a revocation"
        return {"events": [71]}

    monkeypatch.setattr(faust_aiokafka.Consumer, "perform_seek", seek_as_faust_does)
    monkeypatch.setattr(faust_aiokafka.Consumer, "_getmany", fetch)
    fetches = 1
    while not (records := await asyncio.wait_for(consumer._getmany(None, 1.0), 20)):
        consumer.flow_active = True
        fetches += 1

    assert records == {"events": [71]}
    # One seek in vain.
    again = [] if comes == "nothing" else ["seek", "seek", "fetch"]
    assert consumer.calls == ["fetch", *again]
    assert fetches == len(consumer.calls)


async def test_an_assignment_is_sought_before_anything_is_fetched_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def seek_that_lasts_over_a_rebalance(self: Any) -> None:
        self.calls.append("seek")
        if self.calls == ["seek"]:
            await self.perform_seek()

    async def fetch(self: Any, *_: Any) -> dict[str, list[int]]:
        self.calls.append("fetch")
        return {}

    monkeypatch.setattr(faust_aiokafka.Consumer, "perform_seek", seek_that_lasts_over_a_rebalance)
    monkeypatch.setattr(faust_aiokafka.Consumer, "_getmany", fetch)
    consumer = UnconnectedConsumer()
    await consumer.perform_seek()
    # Faust gives up its recovery for good where this has to wait for the broker.
    assert consumer.calls == []
    for _ in range(3):
        await consumer._getmany(None, 1.0)

    assert consumer.calls == ["seek", "seek", "fetch"]


async def test_what_is_committed_is_one_past_the_last_ack_whatever_the_topic_lacks() -> None:
    consumer = UnconnectedConsumer()
    partition = ("events", 0)
    consumer._acked = defaultdict(list, {partition: [0, 7, 8]})
    consumer._acked_index = defaultdict(set, {partition: {0, 7, 8}})
    # As when retention took what no worker had read for long: no offset of it is held.
    await consumer._add_gap(partition, 9, 10**12)

    assert consumer._new_offset(partition) == 9
    assert consumer._new_offset(partition) is None
    assert not consumer._acked_index[partition]
