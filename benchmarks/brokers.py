"""The broker that a benchmark runs on, and its process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resident import children

from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.jars import fetch_jars, find_java


@contextmanager
def running_broker(name: str, folder: Path) -> Iterator[tuple[EmbeddedBroker | KafkaBroker, int]]:
    """A broker and the id of its process, which may be stopped by signals.

    Args:
        name: ``kafka``, ``embedded``, or ``auto``: Kafka where Java and Maven are.
        folder: of Kafka's data.
    """
    before = set(children(os.getpid()))
    with _choose_broker(name, folder) as broker:
        # The broker is the child of its supervisor, which is the only child of ours that is new.
        (supervisor,) = set(children(os.getpid())) - before
        (pid,) = children(supervisor)
        yield broker, pid


def _choose_broker(name: str, folder: Path) -> EmbeddedBroker | KafkaBroker:
    if name == "embedded":
        return EmbeddedBroker()
    try:
        find_java()
        fetch_jars()
    except BrokerError as exc:
        if name == "kafka":
            raise
        print(f"On the embedded broker: {exc}", file=sys.stderr)
        return EmbeddedBroker()
    return KafkaBroker(folder)
