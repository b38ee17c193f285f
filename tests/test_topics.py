"""The three topics on the embedded broker."""

import asyncio
import logging
import socket

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from streamapp import topics
from streamapp.errors import BrokerError, SettingsError
from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.settings import Settings
from streamapp.topics import TopicState, ensure_topics, require_topics, wait_for_topics


async def test_missing_topics_are_created_with_the_partitions_of_the_setting(
    kafka_settings: Settings,
) -> None:
    settings = kafka_settings.model_copy(update={"topic_partitions": 3})
    expected = [
        (settings.events_topic, "events"),
        (settings.results_topic, "results"),
        (settings.dead_letter_topic, "dead letters"),
    ]
    created = await ensure_topics(settings)
    found = await ensure_topics(settings, create=False)

    assert created == [TopicState(name, role, 3, is_new=True) for name, role in expected]
    assert found == [TopicState(name, role, 3) for name, role in expected]


async def test_a_broker_that_lists_its_new_topics_a_moment_later_is_waited_for(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, calls = topics._partitions, 0

    async def listed_late(admin: AIOKafkaAdminClient) -> dict[str, int]:
        nonlocal calls
        calls += 1
        return await listed(admin) if calls > 3 else {}

    monkeypatch.setattr(topics, "_partitions", listed_late)
    assert all(state.is_new for state in await ensure_topics(kafka_settings))
    assert calls >= 4


async def test_a_broker_that_does_not_list_its_new_topics_has_them_all_the_same(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: AIOKafkaAdminClient) -> dict[str, int]:
        return {}

    monkeypatch.setattr(topics, "_partitions", nothing)
    monkeypatch.setattr(topics, "LISTED_WITHIN_S", 0.2)
    states = await asyncio.wait_for(ensure_topics(kafka_settings), 30)
    assert [(state.partitions, state.is_new) for state in states] == [(8, True)] * 3


async def test_a_topic_that_exists_is_left_as_it_is(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    more = kafka_settings.model_copy(update={"topic_partitions": 16})

    assert [(state.partitions, state.is_new) for state in await ensure_topics(more)] == [(8, False)] * 3


async def test_looking_creates_nothing(kafka_settings: Settings) -> None:
    for _ in range(2):
        states = await ensure_topics(kafka_settings, create=False)
        assert [(state.partitions, state.is_new) for state in states] == [(0, False)] * 3


def test_topics_that_are_missing_are_all_named_with_what_creates_them() -> None:
    topics = [TopicState("a", "events", 0), TopicState("b", "results", 3), TopicState("c", "dead letters", 0)]
    require_topics(Settings(), topics[1:2])
    with pytest.raises(BrokerError, match=r"has no topic a, c: `streamapp topics` creates"):
        require_topics(Settings(), topics)


async def test_a_broker_that_is_away_is_one_error_that_says_why(caplog: pytest.LogCaptureFixture) -> None:
    address = f"127.0.0.1:{free_port()}"
    with caplog.at_level(logging.WARNING), pytest.raises(BrokerError) as caught:
        await ensure_topics(Settings(brokers=address))

    assert f"The broker at {address} does not answer" in str(caught.value)
    assert "Connect call failed" in str(caught.value)
    assert caplog.text == ""
    # The filter is gone: what aiokafka logs later is seen.
    assert logging.getLogger("aiokafka").filters == []


async def test_a_listener_that_hangs_up_is_asked_for_its_protocol(caplog: pytest.LogCaptureFixture) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with caplog.at_level(logging.WARNING), pytest.raises(BrokerError) as caught:
            await ensure_topics(Settings(brokers=f"127.0.0.1:{port}"))

    assert str(caught.value).endswith("It hung up: does it take STREAMAPP_SECURITY_PROTOCOL=PLAINTEXT there?")
    assert caplog.text == ""


async def test_a_broker_that_keeps_silent_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "REQUEST_TIMEOUT_MS", 50)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(BrokerError, match=f'Unable connect to "{address}": TimeoutError'):
            await ensure_topics(Settings(brokers=address))


async def test_each_of_several_brokers_says_why_it_does_not_answer() -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(BrokerError) as caught:
        await ensure_topics(Settings(brokers=",".join(addresses)))

    assert all(f'"{address}"' in str(caught.value) for address in addresses)


async def test_a_broker_is_waited_for_and_told_once_and_its_missing_topics_end_the_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    settings = Settings(brokers=f"127.0.0.1:{port}")
    waiting = asyncio.create_task(wait_for_topics(settings, every_s=0.05))
    # Several tries, of which the first says that it waits.
    done, _ = await asyncio.wait([waiting], timeout=1.0)
    assert not done
    broker = EmbeddedBroker(port)
    try:
        await asyncio.to_thread(broker.start)
        with pytest.raises(BrokerError, match="has no topic modify_user"):
            await asyncio.wait_for(waiting, 30)
    finally:
        await asyncio.to_thread(broker.stop)

    assert caplog.text.count("does not answer") == 1


async def test_what_other_clients_log_while_one_connects_is_written(caplog: pytest.LogCaptureFixture) -> None:
    looking = asyncio.create_task(ensure_topics(Settings(brokers=f"127.0.0.1:{free_port()}")))
    while not looking.done():
        logging.getLogger("aiokafka").error("of another client")
        await asyncio.sleep(0)
    with pytest.raises(BrokerError) as caught:
        looking.result()

    assert set(caplog.messages) == {"of another client"}
    assert "another client" not in str(caught.value)


class RefusingBroker:
    """Refuses the login so often, as one that does not know its users yet, and answers then."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    async def ensure_topics(self, settings: Settings, *, create: bool) -> list[TopicState]:
        self.refusals -= 1
        if self.refusals >= 0:
            raise SettingsError("The broker refuses the login of 'moderation'.")
        return [TopicState("a", "events", 3)]


async def test_a_login_that_is_refused_for_a_moment_is_no_end_where_it_was_good_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topics, "ensure_topics", RefusingBroker(3).ensure_topics)
    assert not await wait_for_topics(Settings(), every_s=0.001, refused_for_s=60)
    assert await wait_for_topics(Settings(), every_s=0.001)

    assert caplog.text.count("refuses the login of 'moderation'. Asking again every 0 s.") == 1


async def test_a_login_that_stays_refused_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = RefusingBroker(10_000)
    monkeypatch.setattr(topics, "ensure_topics", broker.ensure_topics)
    with pytest.raises(SettingsError, match="refuses the login"):
        await asyncio.wait_for(wait_for_topics(Settings(), every_s=0.001, refused_for_s=0.05), 30)
    assert broker.refusals < 9_999
    with pytest.raises(SettingsError, match="refuses the login"):
        await wait_for_topics(Settings(), every_s=60)
