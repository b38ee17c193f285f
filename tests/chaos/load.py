"""The load: events sent at a steady rate for as long as something happens to the workers or the broker."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer
from chaos.terms import Terms

from streamapp.kafka import client_options
from streamapp.settings import Settings

TICK_S = 0.05
# Longer than any broker is away: what was to be sent then is sent when it is back.
REQUEST_TIMEOUT_MS = 300_000
DEAD_SHARE = 0.01


def values(url_of: Callable[[str, float], str], terms: Terms, seed: int) -> Iterator[bytes]:
    """Events without end, as the terms have it; one in a hundred is none, and becomes a dead letter.

    Args:
        url_of: the URL of a picture by colour and delay in seconds.
        terms: what pictures there are.
        seed: of their order.
    """
    dice = random.Random(seed)
    colours, weights = list(terms.shares), list(terms.shares.values())
    for user in itertools.count():
        if dice.random() < DEAD_SHARE:
            yield b"not json %d" % user
            continue
        (colour,) = dice.choices(colours, weights)
        url = url_of(colour, terms.late_s if dice.random() < terms.late_share else 0.0)
        properties = {"target_user_image_url": url, "target_user_name": colour}
        yield msgspec.json.encode({"user_id": str(user), "event_properties": properties, "country": "co"})


class Load:
    """Sends the values, keyed by their count, while its block runs; leaving waits for the broker."""

    def __init__(self, settings: Settings, values: Iterator[bytes], rate_per_s: float) -> None:
        self._settings = settings
        self._values = values
        self._rate_per_s = rate_per_s
        self._acknowledged: list[asyncio.Future[Any]] = []

    @property
    def sent(self) -> int:
        return len(self._acknowledged)

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            acks="all",
            linger_ms=5,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **client_options(self._settings),
        )
        await self._producer.start()
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._sending.cancel()
            await asyncio.wait([self._sending])
            if error is None:
                async with asyncio.timeout(60):
                    await asyncio.gather(*self._acknowledged)
        finally:
            await self._producer.stop()

    async def until_sent(self, count: int) -> None:
        """Wait until so many were sent in all.

        Raises:
            KafkaError: the broker does not take them.
        """
        while self.sent < count:
            if self._sending.done():
                self._sending.result()
            await asyncio.sleep(TICK_S)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        started_s = clock()
        while True:
            due = int((clock() - started_s) * self._rate_per_s)
            for value in itertools.islice(self._values, max(0, due - self.sent)):
                key = b"%d" % self.sent
                self._acknowledged.append(
                    await self._producer.send(self._settings.events_topic, value, key=key)
                )
            await asyncio.sleep(TICK_S)
