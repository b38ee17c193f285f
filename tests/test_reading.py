"""Reading topics without a consumer group, on the embedded broker."""

import pytest
from aiokafka.errors import KafkaConnectionError

from streamapp.errors import BrokerError
from streamapp.reading import open_reader, read_errors
from streamapp.settings import Settings
from streamapp.topics import ensure_topics


async def test_every_partition_of_the_topics_is_read_and_no_other(kafka_settings: Settings) -> None:
    settings = kafka_settings.model_copy(update={"topic_partitions": 3})
    await ensure_topics(settings)
    async with open_reader(settings, [settings.results_topic, settings.dead_letter_topic]) as consumer:
        assert {(one.topic, one.partition) for one in consumer.assignment()} == {
            (topic, number)
            for topic in (settings.results_topic, settings.dead_letter_topic)
            for number in range(3)
        }


async def test_only_the_topics_that_are_read_must_be_there(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    settings = kafka_settings.model_copy(update={"dead_letter_topic": "never-created"})
    async with open_reader(settings, [settings.results_topic]):
        pass
    with pytest.raises(BrokerError, match="no topic never-created: `streamapp topics`"):
        async with open_reader(settings, [settings.results_topic, "never-created"]):
            pytest.fail("The reader opened.")


async def test_an_error_of_the_caller_is_not_the_brokers(kafka_settings: Settings) -> None:
    await ensure_topics(kafka_settings)
    with pytest.raises(BrokenPipeError):
        async with open_reader(kafka_settings, [kafka_settings.results_topic]):
            raise BrokenPipeError


@pytest.mark.parametrize("foreign", [KafkaConnectionError("gone"), TimeoutError()])
def test_an_error_of_kafka_is_ours_with_the_brokers_address(foreign: Exception) -> None:
    told = r"127\.0\.0\.1:9092 can't be read from"
    with pytest.raises(BrokerError, match=told) as caught, read_errors(Settings()):
        raise foreign
    assert caught.value.__cause__ is foreign
