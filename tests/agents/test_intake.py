"""The intake: a bounded number of events in flight, acks in offset order, no place lost in a rebalance."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_events import TIMEOUT_S, AckRecordingStream, GenerationApp, is_waiting, source_event

from streamapp.agents import intake as intake_module
from streamapp.agents.intake import Intake, Taken
from streamapp.records import SourcePosition


def intake_of(
    app: GenerationApp | None = None, *, events_in_flight: int = 4, unacked_events: int = 100
) -> Intake:
    return Intake(
        app or GenerationApp(),
        events_in_flight=events_in_flight,
        pictures_in_flight=1,
        unacked_events=unacked_events,
    )


async def free_places(intake: Intake, app: GenerationApp, at_most: int) -> int:
    """How many more events the intake takes; they are given up again."""
    taken: list[Taken] = []
    while len(taken) <= at_most:
        stale = source_event(0, generation_id=-1)
        task = asyncio.create_task(intake.take(AckRecordingStream(), stale))
        if await is_waiting(task):
            task.cancel()
            await asyncio.wait({task})
            break
        taken.append(task.result())
    for ticket in taken:
        intake.drop(ticket)
    return len(taken)


async def test_an_event_is_taken_with_its_position_and_its_record() -> None:
    intake = intake_of()
    event = source_event(41210, partition=3, key=b"7", value=b"{}", headers={"trace": b"1"})
    delivery = (await intake.take(AckRecordingStream(), event)).payload

    assert delivery.source == SourcePosition("modify_user", 3, 41210)
    assert (delivery.key, delivery.value, delivery.headers) == (b"7", b"{}", [("trace", b"1")])
    assert intake.unacked == 1


@pytest.mark.parametrize(
    ("given_headers", "headers"),
    [(None, []), ([("a", b"1"), ("a", b"2")], [("a", b"1"), ("a", b"2")]), ({"a": b"1"}, [("a", b"1")])],
)
async def test_headers_come_in_every_form_that_faust_has_them_in(
    given_headers: object, headers: list[tuple[str, bytes]]
) -> None:
    event = source_event(0, headers=given_headers)
    assert (await intake_of().take(AckRecordingStream(), event)).payload.headers == headers


async def test_no_more_events_are_in_flight_than_allowed() -> None:
    intake, stream = intake_of(events_in_flight=2), AckRecordingStream()
    first, _ = [await intake.take(stream, source_event(offset)) for offset in (0, 1)]
    third = asyncio.create_task(intake.take(stream, source_event(2)))

    assert await is_waiting(third)
    await intake.ack(first, "rows")
    assert (await asyncio.wait_for(third, TIMEOUT_S)).offset == 2


async def test_no_more_pictures_are_in_memory_than_allowed() -> None:
    intake, stream = intake_of(), AckRecordingStream()
    first, second, third = [await intake.take(stream, source_event(offset)) for offset in range(3)]
    await intake.admit_picture(first)
    waiting = asyncio.create_task(intake.admit_picture(second))

    assert await is_waiting(waiting)
    await intake.ack(third, "rows")  # it had no picture, so that it leaves no room for one
    assert await is_waiting(waiting)
    await intake.ack(first, "rows")
    await asyncio.wait_for(waiting, TIMEOUT_S)
    assert (intake.pictures, intake.in_flight) == (1, 1)


async def test_a_picture_of_a_lost_partition_leaves_its_room_to_others() -> None:
    app = GenerationApp()
    intake, stream = intake_of(app), AckRecordingStream()
    lost = await intake.take(stream, source_event(0))
    await intake.admit_picture(lost)
    app.rebalance()
    assert not intake.is_current(lost)
    intake.drop(lost)
    ours = await intake.take(stream, source_event(0, generation_id=2))

    await asyncio.wait_for(intake.admit_picture(ours), TIMEOUT_S)
    assert intake.pictures == 1


async def test_a_slow_event_stops_the_intake_only_when_too_many_wait_behind_it_for_their_ack() -> None:
    intake, stream = intake_of(events_in_flight=10, unacked_events=3), AckRecordingStream()
    slow, *others = [await intake.take(stream, source_event(offset)) for offset in range(3)]
    for ticket in others:
        await intake.ack(ticket, "rows")
    fourth = asyncio.create_task(intake.take(stream, source_event(3)))

    assert await is_waiting(fourth)
    assert stream.acks == []
    await intake.ack(slow, "rows")
    await asyncio.wait_for(fourth, TIMEOUT_S)
    assert stream.acks == [(0, 0), (0, 1), (0, 2)]
    assert intake.unacked == 1


async def test_an_intake_without_room_says_so_and_goes_on_after_a_rebalance(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake_module, "WARN_AFTER_S", 0.01)
    app = GenerationApp()
    intake = intake_of(app, unacked_events=1)
    await intake.take(AckRecordingStream(), source_event(0))
    app.rebalance()
    with caplog.at_level(logging.WARNING):
        again = intake.take(AckRecordingStream(), source_event(0, generation_id=2))
        await asyncio.wait_for(again, TIMEOUT_S)

    assert intake.unacked == 1
    assert "unacked_events" in caplog.text


@given(st.permutations([(partition, offset) for partition in range(2) for offset in range(5)]))
def test_acks_leave_in_offset_order_whatever_is_done_first(order: list[tuple[int, int]]) -> None:
    async def complete() -> None:
        intake, stream = intake_of(events_in_flight=10), AckRecordingStream()
        tickets = {}
        for partition, offset in sorted(order):
            event = source_event(offset, partition=partition)
            tickets[partition, offset] = await intake.take(stream, event)
        done: set[tuple[int, int]] = set()
        for position in order:
            await intake.ack(tickets[position], "rows")
            done.add(position)
            # What may be committed is what was acked last, plus one: never past an event in flight.
            for partition, offset in stream.acks:
                assert {(partition, earlier) for earlier in range(offset + 1)} <= done
        for partition in range(2):
            assert [o for p, o in stream.acks if p == partition] == list(range(5))
        assert intake.unacked == 0

    asyncio.run(complete())


async def test_an_event_of_an_old_generation_is_never_acked() -> None:
    app, stream = GenerationApp(), AckRecordingStream()
    intake = intake_of(app)
    lost = await intake.take(stream, source_event(0))
    app.rebalance()

    assert not intake.is_current(lost)
    await intake.ack(lost, "rows")
    assert stream.acks == []
    assert intake.unacked == 0


async def test_a_generation_whose_number_the_broker_gives_twice_is_another_one() -> None:
    app, stream = GenerationApp(), AckRecordingStream()
    intake = intake_of(app)
    lost = await intake.take(stream, source_event(0))
    intake.begin_epoch()
    again = await intake.take(stream, source_event(0))

    assert not intake.is_current(lost)
    intake.drop(lost)
    await intake.ack(again, "rows")
    assert stream.acks == [(0, 0)]


async def test_an_event_that_waits_for_its_place_during_a_rebalance_is_lost() -> None:
    intake, stream = intake_of(events_in_flight=1), AckRecordingStream()
    first = await intake.take(stream, source_event(0))
    waiting = asyncio.create_task(intake.take(stream, source_event(1)))
    assert await is_waiting(waiting)
    intake.begin_epoch()
    intake.drop(first)

    assert not intake.is_current(await asyncio.wait_for(waiting, TIMEOUT_S))
    assert intake.unacked == 0


async def test_only_acks_of_events_with_an_outcome_are_let_through() -> None:
    app, stream = GenerationApp(), AckRecordingStream()
    intake = intake_of(app)
    first, second = [await intake.take(stream, source_event(offset)) for offset in (0, 1)]
    await intake.ack(second, "dead letters")
    assert app.consumer.permits == []
    await intake.ack(first, "rows")

    assert app.consumer.permits == [(0, 0), (0, 1)]
    assert intake.outcomes == {"rows": 1, "dead letters": 1}


async def test_an_event_that_was_read_before_the_rebalance_holds_up_nothing() -> None:
    app, stream = GenerationApp(), AckRecordingStream()
    intake = intake_of(app)
    app.rebalance()
    late = await intake.take(stream, source_event(0, generation_id=1))
    again = await intake.take(stream, source_event(0, generation_id=2))

    assert not intake.is_current(late)
    await intake.ack(again, "rows")
    assert stream.acks == [(0, 0)]


async def test_giving_up_an_event_that_is_still_ours_is_a_bug() -> None:
    intake = intake_of()
    ticket = await intake.take(AckRecordingStream(), source_event(0))

    with pytest.raises(RuntimeError, match=r"dropped and still ours\. This is a bug\."):
        intake.drop(ticket)


async def test_an_intake_that_is_cancelled_while_it_waits_for_room_keeps_no_place() -> None:
    app = GenerationApp()
    intake = intake_of(app, events_in_flight=3, unacked_events=1)
    ticket = await intake.take(AckRecordingStream(), source_event(0))
    waiting = asyncio.create_task(intake.take(AckRecordingStream(), source_event(1)))
    assert await is_waiting(waiting)
    waiting.cancel()
    await asyncio.wait({waiting})
    await intake.ack(ticket, "rows")

    assert await free_places(intake, app, at_most=3) == 3


PLACES = 3


@given(st.lists(st.sampled_from(["take", "take stale", "ack", "rebalance", "drop stale"]), max_size=60))
def test_no_place_is_lost_or_won_however_often_kafka_rebalances(steps: list[str]) -> None:
    async def run() -> None:
        app, stream, held, offset = GenerationApp(), AckRecordingStream(), list[Taken](), 0
        intake = intake_of(app, events_in_flight=PLACES)
        for step in steps:
            if step.startswith("take") and len(held) < PLACES:
                generation = app.consumer_generation_id - (step == "take stale")
                event = source_event(offset, generation_id=generation)
                held.append(await asyncio.wait_for(intake.take(stream, event), TIMEOUT_S))
                offset += 1
            elif step == "ack" and held:
                await intake.ack(held.pop(), "rows")
            elif step == "rebalance":
                app.rebalance()
            elif step == "drop stale":
                for ticket in [ticket for ticket in held if not intake.is_current(ticket)]:
                    intake.drop(ticket)
                    held.remove(ticket)
        assert await free_places(intake, app, at_most=PLACES) == PLACES - len(held)

    asyncio.run(run())
