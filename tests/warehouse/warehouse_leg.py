"""The whole way into the warehouse, of real parts: events, workers, Kafka, Kafka Connect, PostgreSQL."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from chaos.fleet import Fleet
from chaos.pictures import PLAIN, RAISES, ColourServer
from connect_worker import ConnectWorker, plugin_folder
from warehouse.postgres_cluster import USER, PostgresCluster

from streamapp.connect.client import ConnectClient
from streamapp.connect.files import read_connector_file
from streamapp.kafka import client_options
from streamapp.local.kafka.broker import KafkaBroker
from streamapp.local.outcomes import wait_until_committed
from streamapp.local.sending import send_values
from streamapp.records import SourcePosition
from streamapp.settings import Settings, load_settings
from streamapp.topics import ensure_topics

CONNECTOR_FILE = Path(__file__).parents[2] / "connect" / "postgres.json"
# A try that can't succeed is over sooner.
QUICK = {"flush.retry.delay.ms": "500"}
PARTITIONS = 4
POLL_S = 0.1
VARIABLES = {
    "STREAMAPP_TOPIC_PARTITIONS": str(PARTITIONS),
    "STREAMAPP_SESSION_TIMEOUT_S": "6",
    "STREAMAPP_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    "STREAMAPP_DOWNLOADS_PER_HOST": "64",
    "STREAMAPP_DECODE_THREADS": "1",
    "STREAMAPP_MODELS": "nudenet",
    "CHAOS_HANG_FILE": "no such file",
}


@dataclass
class Leg:
    """Everything at hand.

    Attributes:
        variables: the environment of streamapp's commands.
        database: the warehouse's name in the cluster.
    """

    folder: Path
    cluster: PostgresCluster
    database: str
    variables: dict[str, str]
    settings: Settings
    connect: ConnectWorker
    server: ColourServer
    fleet: Fleet
    sent: dict[SourcePosition, bytes] = field(default_factory=dict)

    async def send(self, count: int) -> None:
        """Send events of as many users: one in 50 without a picture, one in 50 no JSON, one in 50 that the
        model raises on."""
        async for value, position in send_values(self.settings, itertools.islice(self._values(), count)):
            self.sent[position] = value

    def _values(self) -> Iterator[bytes]:
        for user in itertools.count():
            match user % 50:
                case 7:
                    yield b"not json %d" % user
                    continue
                case 13:
                    url = ""
                case 23:
                    url = self.server.url_of(RAISES)
                case _:
                    url = self.server.url_of(PLAIN)
            properties = {"target_user_image_url": url, "target_user_name": f"user {user}"}
            yield msgspec.json.encode({"user_id": user, "event_properties": properties, "country": "co"})

    @property
    def with_row(self) -> set[tuple[int, int]]:
        """Partition and offset of the events that must have a row."""
        return {
            (position.partition, position.offset)
            for position, value in self.sent.items()
            if b'"target_user_image_url":"http' in value
        }

    async def until_committed(self) -> None:
        """Wait until the workers have committed every event."""
        left = await wait_until_committed(self.settings, self.sent, timeout_s=90)
        assert not left, f"{len(left)} events are not committed:\n{self.fleet.logs()}"

    async def rewind(self, offsets: int) -> set[tuple[int, int]]:
        """Set the group's committed offsets back by as many in each partition; the events that come again.

        The group must have no members.
        """
        places = [TopicPartition(self.settings.events_topic, number) for number in range(PARTITIONS)]
        options = client_options(self.settings) | {"group_id": self.settings.group}
        async with AIOKafkaConsumer(enable_auto_commit=False, **options) as consumer:
            consumer.assign(places)
            committed = {place: await consumer.committed(place) for place in places}
            await consumer.commit({place: end - offsets for place, end in committed.items()})
        return {
            (place.partition, offset)
            for place, end in committed.items()
            for offset in range(end - offsets, end)
        }

    async def publish(self, *values: bytes | None, partition: int = 0) -> list[tuple[int, int]]:
        """Write records to the results topic, past the workers; their partitions and offsets."""
        async with AIOKafkaProducer(**client_options(self.settings)) as producer:
            topic = self.settings.results_topic
            found = [
                await producer.send_and_wait(topic, value, key=b"someone else", partition=partition)
                for value in values
            ]
        return [(one.partition, one.offset) for one in found]

    async def results(self) -> dict[tuple[int, int], bytes | None]:
        """Every record of the results topic, by partition and offset."""
        records: dict[tuple[int, int], bytes | None] = {}
        places = [TopicPartition(self.settings.results_topic, number) for number in range(PARTITIONS)]
        async with AIOKafkaConsumer(**client_options(self.settings)) as consumer, asyncio.timeout(60):
            consumer.assign(places)
            for place in places:
                consumer.seek(place, 0)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records |= {(record.partition, record.offset): record.value for record in batch}
        return records

    async def apply(self, **overrides: str) -> None:
        """Bring the connector to what its file says, with these properties of it replaced."""
        file = read_connector_file(CONNECTOR_FILE)
        async with ConnectClient(self.connect.url) as connect:
            await connect.put_config(file.name, file.config | QUICK | overrides)

    async def restart_failed(self) -> None:
        """What `streamapp connect restart` does: a task that lost PostgreSQL in mid-work stays failed."""
        file = read_connector_file(CONNECTOR_FILE)
        async with ConnectClient(self.connect.url) as connect:
            status = await connect.status(file.name)
            if status is not None and status.failed:
                await connect.restart(file.name)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What the warehouse answers."""
        with psycopg.connect(self.cluster.url(self.database), autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def land(self, partition: int, offset: int, doc: bytes) -> None:
        """Put a record of the results topic into the landing table."""
        place = (self.settings.results_topic, partition, offset)
        with psycopg.connect(self.cluster.url(self.database), autocommit=True) as connection:
            connection.execute("insert into landing values (%s, %s, %s, %s)", (*place, doc))

    async def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
        """Wait until it holds.

        Raises:
            AssertionError: it does not in time.
        """
        give_up_at = time.monotonic() + timeout_s
        while not await asyncio.to_thread(condition):
            assert time.monotonic() < give_up_at, (
                f"Not within {timeout_s:g} s: {what}\n{self.connect.log_tail(40)}"
            )
            await asyncio.sleep(POLL_S)

    async def until_landed(self, count: int) -> None:
        """Wait for so many records in the landing table."""
        await self.until(lambda: self.landed() >= count, f"{count} records landed")

    def landed(self) -> int:
        """How many records have landed; 0 while PostgreSQL is away."""
        try:
            return int(self.query("select count(*) from landing")[0][0])
        except psycopg.OperationalError:
            return 0


@asynccontextmanager
async def open_leg(broker: KafkaBroker, cluster: PostgresCluster, folder: Path) -> AsyncIterator[Leg]:
    """All of it running, a worker assigned and the connector applied; gone after the block."""
    database = cluster.new_warehouse()
    settings_variables = VARIABLES | {
        "STREAMAPP_BROKERS": broker.bootstrap_servers,
        "STREAMAPP_WAREHOUSE_URL": cluster.url(database),
    }
    settings = load_settings({k: v for k, v in settings_variables.items() if k.startswith("STREAMAPP_")})
    await ensure_topics(settings)
    connect = ConnectWorker(
        folder / "connect",
        broker.bootstrap_servers,
        plugins=[plugin_folder("jdbc")],
        environment={
            "STREAMAPP_RESULTS_TOPIC": settings.results_topic,
            "WAREHOUSE_JDBC_URL": f"jdbc:postgresql://127.0.0.1:{cluster.port}/{database}",
            "WAREHOUSE_USER": USER,
            "WAREHOUSE_PASSWORD": cluster.password,
        },
    )
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ColourServer())
        fleet = stack.enter_context(Fleet(settings_variables, folder, PARTITIONS))
        leg = Leg(folder, cluster, database, settings_variables, settings, connect, server, fleet)
        fleet.start()
        stack.push_async_callback(asyncio.to_thread, connect.stop)
        await asyncio.to_thread(connect.start)
        await leg.apply()
        await fleet.until_assigned()
        yield leg
