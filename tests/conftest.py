"""What several test folders share: one embedded broker for the whole run, topics of its own for each test."""

import uuid
from collections.abc import Iterator

import pytest

from streamapp.local.broker import EmbeddedBroker
from streamapp.settings import Settings, load_settings


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def kafka_variables(embedded_broker: EmbeddedBroker) -> dict[str, str]:
    """The environment of a worker on the embedded broker, with names that no other test uses."""
    name = uuid.uuid4().hex[:8]
    return {
        "STREAMAPP_BROKERS": embedded_broker.bootstrap_servers,
        "STREAMAPP_EVENTS_TOPIC": f"events-{name}",
        "STREAMAPP_RESULTS_TOPIC": f"results-{name}",
        "STREAMAPP_DEAD_LETTER_TOPIC": f"dead-{name}",
        "STREAMAPP_GROUP": f"group-{name}",
        # The embedded broker completes a join only after the rebalance timeout.
        "STREAMAPP_SESSION_TIMEOUT_S": "6",
        "STREAMAPP_REBALANCE_TIMEOUT_S": "3",
        "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "STREAMAPP_RETRY_BASE_S": "0.01",
        "STREAMAPP_DOWNLOAD_ATTEMPTS": "2",
        "STREAMAPP_MODELS": "nudenet",
    }


@pytest.fixture
def kafka_settings(kafka_variables: dict[str, str]) -> Settings:
    """The same as settings."""
    return load_settings(kafka_variables)
