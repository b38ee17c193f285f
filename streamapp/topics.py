"""The three topics: what they should be, what the broker has, and creating what is missing."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamapp.errors import BrokerError
from streamapp.kafka import client_options
from streamapp.settings import Settings

REQUEST_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic of streamapp's.

    Attributes:
        role: ``events``, ``results`` or ``dead letters``.
        partitions: how many the broker has; 0 where the topic is missing.
        is_new: this call created it.
    """

    name: str
    role: str
    partitions: int
    is_new: bool = False


def topic_roles(settings: Settings) -> dict[str, str]:
    """Topic name → what it is for."""
    return {
        settings.events_topic: "events",
        settings.results_topic: "results",
        settings.dead_letter_topic: "dead letters",
    }


async def ensure_topics(settings: Settings, *, create: bool = True) -> list[TopicState]:
    """Create the topics that are missing (where `create` says so) and tell what there is.

    A topic that exists is never changed: more partitions would move users to others.

    Raises:
        BrokerError: the broker can't be reached, or refuses to create a topic.
    """
    admin = AIOKafkaAdminClient(request_timeout_ms=REQUEST_TIMEOUT_MS, **client_options(settings))
    causes = _Causes()
    try:
        with causes.held():
            await admin.start()
        before = await _partitions(admin)
        roles = topic_roles(settings)
        missing = [name for name in roles if name not in before] if create else []
        if missing:
            await _create(admin, missing, settings)
        after = await _partitions(admin) if missing else before
    except (KafkaError, OSError) as exc:
        cause = "; ".join(causes.found) or repr(exc)
        raise BrokerError(f"The broker at {settings.brokers} does not answer: {cause}.") from exc
    finally:
        await admin.close()
    # A broker may list a new topic a moment later than it has created it.
    created = settings.topic_partitions
    return [
        TopicState(name, role, after.get(name, created if name in missing else 0), name in missing)
        for name, role in roles.items()
    ]


def require_topics(settings: Settings, topics: Iterable[TopicState]) -> None:
    """Make sure that the broker has all of these topics.

    Raises:
        BrokerError: it lacks some.
    """
    missing = [topic.name for topic in topics if not topic.partitions]
    if missing:
        raise BrokerError(
            f"The broker at {settings.brokers} has no topic {', '.join(missing)}: "
            "`streamapp topics` creates what is missing."
        )


class _Causes(logging.Filter):
    """Holds what aiokafka logs while it connects: its error says that no broker answers, its log why."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep an error once, and let nothing of it through."""
        if record.levelno < logging.ERROR:
            return True
        self.found[record.getMessage().removesuffix(": ")] = None
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the errors that are logged meanwhile."""
        client_log = logging.getLogger("aiokafka")
        client_log.addFilter(self)
        try:
            yield
        finally:
            client_log.removeFilter(self)


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Partition counts of every topic that the broker has.

    All topics are listed: asking for one by name may create it.
    """
    names = await admin.list_topics()
    if not names:
        return {}
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)}


async def _create(admin: AIOKafkaAdminClient, names: list[str], settings: Settings) -> None:
    response = await admin.create_topics(
        [NewTopic(name, settings.topic_partitions, settings.topic_replication_factor) for name in names]
    )
    for name, code, *details in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            detail = next((text for text in details if text), error.__name__)
            raise BrokerError(f"The broker at {settings.brokers} does not create the topic {name}: {detail}.")
