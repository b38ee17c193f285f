"""aiokafka's consumer in its thread: how it starts, seeks and ends; the parent's own methods are replaced."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as faust_aiokafka

from streamapp.agents.consumer import ConsumerThread


class StartingThread(ConsumerThread):
    """Its first tries find no broker; is told to stop at one of them, or never."""

    def __init__(self, stops_at: int | None) -> None:
        self.tries = self.closed = 0
        self.stops_at = stops_at
        self._consumer: Any = None

    @property
    def should_stop(self) -> bool:
        return self.tries == self.stops_at

    async def sleep(self, *_: Any) -> None: ...

    async def stop_consumer(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("stops_at", [None, 2])
async def test_a_broker_that_goes_before_the_consumers_start_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, stops_at: int | None
) -> None:
    async def start(self: StartingThread) -> None:
        self._consumer = SimpleNamespace(
            stop=self.stop_consumer, _coordinator=SimpleNamespace(_send_req=None)
        )
        self.tries += 1
        if self.tries < 3:
            raise KafkaConnectionError("Unable to bootstrap")

    monkeypatch.setattr(faust_aiokafka.AIOKafkaConsumerThread, "on_start", start)
    thread = StartingThread(stops_at)
    await asyncio.wait_for(thread.on_start(), 10)

    assert (thread.tries, thread.closed) == ((3, 2) if stops_at is None else (2, 2))
    # Guarded once it is there.
    assert (thread._consumer._coordinator._send_req is not None) is (stops_at is None)


async def test_the_consumers_thread_ends_although_a_fetch_waited_for_its_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def stop_as_aiokafka_does(self: Any) -> None:
        fetch = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        fetch.cancel()
        await fetch

    class Client:
        is_closed = False

        async def close(self) -> None:
            self.is_closed = True

    monkeypatch.setattr(faust_aiokafka.AIOKafkaConsumerThread, "on_thread_stop", stop_as_aiokafka_does)
    thread: Any = object.__new__(ConsumerThread)
    thread._consumer = SimpleNamespace(_client=Client())
    await thread.on_thread_stop()

    assert thread._consumer._client.is_closed


async def test_partitions_without_a_commit_are_sought_at_their_beginning_all_others_where_it_is() -> None:
    resets: list[list[str]] = []

    class SeekingConsumer:
        """Loses a partition while it seeks the others."""

        def __init__(self) -> None:
            self.assigned = {"fresh", "at 0", "at 7", "lost"}
            self._fetcher = SimpleNamespace(request_offset_reset=lambda tps, _: resets.append(sorted(tps)))

        def assignment(self) -> set[str]:
            return self.assigned

        async def seek_to_committed(self) -> dict[str, int | None]:
            self.assigned.remove("lost")
            return {"fresh": None, "at 0": 0, "at 7": 7, "lost": None}

    thread: Any = object.__new__(ConsumerThread)
    thread._consumer = SeekingConsumer()

    assert await thread._seek_all() == {"fresh": 0, "at 0": 0, "at 7": 7, "lost": 0}
    assert resets == [["at 0", "fresh"]]
    # aiokafka takes it for a bug of the program.
    thread._consumer.assigned = set()
    assert await thread._seek_all() == {}


async def test_the_client_is_closed_on_the_loop_that_it_belongs_to() -> None:
    closed_on: list[Any] = []

    async def close() -> None:
        closed_on.append(asyncio.get_running_loop())

    thread: Any = object.__new__(ConsumerThread)
    thread._consumer = SimpleNamespace(_client=SimpleNamespace(close=close), _closed=False)
    thread.thread_loop = asyncio.new_event_loop()
    # Called from the app's thread and loop, which is this one.
    thread.close()
    await asyncio.sleep(0)
    assert closed_on == []
    await asyncio.to_thread(thread.thread_loop.run_until_complete, asyncio.sleep(0.01))
    thread.thread_loop.close()
    thread.close()

    assert closed_on == [thread.thread_loop]
    assert thread._consumer._closed
