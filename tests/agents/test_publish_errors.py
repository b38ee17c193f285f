"""No error of Kafka's leaves the publisher: every class that its producer can raise becomes one of ours."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka_records import row_of

from streamapp.agents import publish
from streamapp.agents.publish import Publisher
from streamapp.errors import BrokerError, DeadLetterReason
from streamapp.records import SourcePosition
from streamapp.settings import Settings


def classes_of(base: type[KafkaError]) -> Iterator[type[KafkaError]]:
    yield base
    for derived in base.__subclasses__():
        yield from classes_of(derived)


class FailingProducer:
    """Raises for each record, when it takes it or in place of its acknowledgement."""

    def __init__(self, error: KafkaError, *, takes_it: bool) -> None:
        self._error = error
        self._takes_it = takes_it

    async def send(self, *arguments: object, **options: object) -> asyncio.Future[None]:
        if not self._takes_it:
            raise self._error
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_exception(self._error)
        return acknowledged


async def outcomes_of(publisher: Publisher) -> list[str]:
    """What becomes of a row and of a dead letter, in words."""
    position, reason = SourcePosition("modify_user", 3, 41210), DeadLetterReason.NOT_JSON
    outcomes = await asyncio.gather(
        publisher.publish_row(row_of("1")),
        publisher.publish_dead_letter(position, b"k", b"{", [], reason, "It is not JSON."),
        return_exceptions=True,
    )
    return [f"{type(outcome).__name__}: {outcome}" for outcome in outcomes]


def expected(error: KafkaError) -> tuple[str, str]:
    """How both outcomes begin."""
    if isinstance(error, MessageSizeTooLargeError):
        return "bool: False", "BrokerError: The broker at 127.0.0.1:9092 takes no dead letter"
    if error.retriable or isinstance(error, KafkaTimeoutError):
        return ("BrokerError: The broker was asked.",) * 2
    return ("BrokerError: The broker at 127.0.0.1:9092 refuses a record",) * 2


@pytest.mark.parametrize("takes_it", [False, True], ids=["when taken", "when acknowledged"])
async def test_each_of_kafkas_errors_is_an_error_of_ours_or_a_question_to_the_broker(
    takes_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(*arguments: object, **options: object) -> bool:
        raise BrokerError("The broker was asked.")

    monkeypatch.setattr(publish, "wait_for_topics", ask)
    for kind in set(classes_of(KafkaError)):
        publisher = Publisher(Settings(), ask_every_s=0)
        publisher._producer = FailingProducer(kind(), takes_it=takes_it)
        for outcome, beginning in zip(await outcomes_of(publisher), expected(kind()), strict=True):
            assert outcome.startswith(beginning), kind
