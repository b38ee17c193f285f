"""The three topics: what they should be, what the broker has, and creating what is missing."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamapp.errors import BrokerError, SettingsError, StreamappError
from streamapp.kafka import advice, client_options, require_login
from streamapp.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 10_000
TELL_EVERY_S = 30.0
# How long a broker may take to list a topic that it has created; busy ones were seen to take seconds.
LISTED_WITHIN_S = 10.0
LIST_EVERY_S = 0.1


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
        SettingsError: the broker refuses the login or the client certificate.
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
        after = await _partitions_with(admin, missing) if missing else before
    except (KafkaError, OSError) as exc:
        errors = [exc, *causes.errors]
        require_login(settings, errors)
        cause = "; ".join(causes.found) or repr(exc)
        what = f"The broker at {settings.brokers} does not answer: {cause}."
        raise BrokerError(f"{what} {advice(settings, errors)}".rstrip()) from exc
    finally:
        await admin.close()
    # It was acknowledged, whether or not it is listed by now.
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


async def wait_for_topics(settings: Settings, *, every_s: float, refused_for_s: float = 0.0) -> bool:
    """Ask the broker until it answers, and make sure that it has all topics then.

    Args:
        every_s: pause between two questions.
        refused_for_s: how long it may refuse the login before that is final.

    Returns:
        Whether it answered at once.

    Raises:
        BrokerError: it answers, and lacks some.
        SettingsError: it refuses the login or the client certificate.
    """
    began_s = time.monotonic()
    told_s: float | None = None
    refused_since_s: float | None = None
    while True:
        problem: StreamappError
        try:
            topics = await ensure_topics(settings, create=False)
            break
        except SettingsError as exc:
            problem, refused_since_s = exc, refused_since_s or time.monotonic()
            if time.monotonic() - refused_since_s >= refused_for_s:
                raise
        except BrokerError as exc:
            problem, refused_since_s = exc, None
        if told_s is None or time.monotonic() - told_s >= TELL_EVERY_S:
            logger.warning("%s Asking again every %.0f s.", problem, every_s)
            told_s = time.monotonic()
        await asyncio.sleep(every_s)
    require_topics(settings, topics)
    if told_s is not None:
        logger.warning("The broker at %s answers after %.0f s.", settings.brokers, time.monotonic() - began_s)
    return told_s is None


class _Causes(logging.Filter):
    """Holds what aiokafka logs while it connects: its error says that no broker answers, its log why.

    Attributes:
        found: the messages, each once.
        errors: the exceptions that they are about.
    """

    # Other clients of the process log by the same logger, in other tasks and threads.
    _holding: ContextVar["_Causes | None"] = ContextVar("causes", default=None)

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, None] = {}
        self.errors: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what went wrong once, and let nothing of it through."""
        if record.levelno < logging.WARNING or self._holding.get() is not self:
            return True
        errors = [arg for arg in record.args or () if isinstance(arg, BaseException)]
        # Of an error without a text, such as a timeout, aiokafka's message says nothing.
        unnamed = "".join(type(error).__name__ for error in errors if not str(error))
        self.found[record.getMessage() + unnamed] = None
        self.errors += errors
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the errors that are logged meanwhile, by this task."""
        client_log = logging.getLogger("aiokafka")
        client_log.addFilter(self)
        token = self._holding.set(self)
        try:
            yield
        finally:
            self._holding.reset(token)
            client_log.removeFilter(self)


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Partition counts of every topic that the broker has.

    All topics are listed: asking for one by name may create it.
    """
    names = await admin.list_topics()
    if not names:
        return {}
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(names)}


async def _partitions_with(admin: AIOKafkaAdminClient, created: Iterable[str]) -> dict[str, int]:
    """The same, once they have these topics as well, or after `LISTED_WITHIN_S`.

    The controller creates a topic, and the broker that is asked learns of it a moment later: a worker that
    starts in between would find it missing, and end.
    """
    give_up_at_s = time.monotonic() + LISTED_WITHIN_S
    while True:
        found = await _partitions(admin)
        if all(found.get(name) for name in created) or time.monotonic() >= give_up_at_s:
            return found
        await asyncio.sleep(LIST_EVERY_S)


async def _create(admin: AIOKafkaAdminClient, names: list[str], settings: Settings) -> None:
    response = await admin.create_topics(
        [NewTopic(name, settings.topic_partitions, settings.topic_replication_factor) for name in names]
    )
    for name, code, *details in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            detail = next((text for text in details if text), error.__name__).rstrip(".")
            raise BrokerError(f"The broker at {settings.brokers} does not create the topic {name}: {detail}.")
