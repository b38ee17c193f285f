"""What is done to the broker and to its topics."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from chaos.arena import Arena

from streamapp.kafka import client_options
from streamapp.topics import ensure_topics

RESUME_WITHIN_S = 60.0
READY_WITHIN_S = 120.0
# Below every row: an empty one has 1 kB.
ROW_LIMIT_BYTES = 600
KAFKAS_LIMIT_BYTES = 1_048_588
# Longer than the worker waits for an acknowledgement.
TOPIC_AWAY_S = 45.0
# An orchestrator's pause before it starts again what has ended.
REVIVE_EVERY_S = 5.0
WATCH_EVERY_S = 2.0


async def broker_killed(arena: Arena) -> None:
    """SIGKILL the broker and start it on its data; the workers must go on by themselves."""
    await asyncio.to_thread(arena.kafka.kill)
    await asyncio.to_thread(arena.kafka.start)
    arena.notes["resumed_s"] = await _resumed_s(arena)
    codes = arena.fleet.revive()
    arena.require(not codes, f"Workers ended, with exit codes {codes}")


async def _resumed_s(arena: Arena) -> float:
    """Seconds from now until an outcome is written; the events of before count as well."""
    back_ms = time.time() * 1000

    def later() -> list[int]:
        return [fate.first_ms for fate in arena.ledger.fates if (fate.first_ms or 0) > back_ms]

    await arena.until(lambda: bool(later()), "an outcome after the broker's return", RESUME_WITHIN_S)
    return round((min(later(), default=back_ms) - back_ms) / 1000, 2)


def broker_away(away_s: float) -> Callable[[Arena], Awaitable[None]]:
    """The fault of a broker that is killed and comes back so late; the workers must sit that out, warm."""

    async def fault(arena: Arena) -> None:
        await _until_ready(arena)
        ended_before = len(arena.fleet.exit_codes)
        before_mb = arena.fleet.memory_mb()
        await asyncio.to_thread(arena.kafka.kill)
        back_at = time.monotonic() + away_s
        peak_mb, was_red, was_live = before_mb, False, True
        try:
            while time.monotonic() < back_at:
                await asyncio.sleep(WATCH_EVERY_S)
                peak_mb = max(peak_mb, arena.fleet.memory_mb())
                was_red = was_red or not any(await arena.fleet.ready())
                was_live = was_live and all(await arena.fleet.live())
        finally:
            await asyncio.to_thread(arena.kafka.start)
        arena.notes |= {"memory_before_mb": before_mb, "memory_peak_mb": peak_mb}
        arena.require(was_red, "/ready was never red on all workers while the broker was away")
        arena.require(was_live, "/live was red on a worker while the broker was away")
        arena.notes["resumed_s"] = await _resumed_s(arena)
        await _until_ready(arena)
        arena.notes["memory_after_mb"] = arena.fleet.memory_mb()
        arena.fleet.revive()
        codes = arena.fleet.exit_codes[ended_before:]
        arena.require(not codes, f"Workers ended, with exit codes {codes}")

    return fault


async def _until_ready(arena: Arena) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while not all(await arena.fleet.ready()):
        if time.monotonic() > give_up_at:
            return arena.require(False, f"/ready was not green on all workers within {READY_WITHIN_S:.0f} s")
        arena.fleet.revive()
        await asyncio.sleep(1.0)


async def results_too_large(arena: Arena) -> None:
    """Let the results topic take no row for a while: each becomes a dead letter."""
    async with _admin(arena) as admin:
        await _limit(admin, arena.settings.results_topic, ROW_LIMIT_BYTES)
        await arena.keep_loading(3.0)
        await _limit(admin, arena.settings.results_topic, KAFKAS_LIMIT_BYTES)
    refused = [fate for fate in arena.ledger.fates if fate.reason == "row_too_large"]
    arena.notes["row_too_large"] = len(refused)
    arena.require(bool(refused), "no dead letter says row_too_large")


async def _limit(admin: AIOKafkaAdminClient, topic: str, limit_bytes: int) -> None:
    limit = {"max.message.bytes": str(limit_bytes)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=limit)])


async def results_topic_missing(arena: Arena) -> None:
    """Delete the results topic under the workers, and make it again later.

    The workers stand still until the judge has read what would go with the topic.
    """
    topic, workers = arena.settings.results_topic, list(arena.fleet.alive)
    async with _admin(arena) as admin:
        for worker in workers:
            worker.process.send_signal(signal.SIGSTOP)
        try:
            arena.require(await arena.ledger.sample(), "the judge could not read the topic to its end")
            await admin.delete_topics([topic])
        finally:
            for worker in workers:
                worker.process.send_signal(signal.SIGCONT)
    ended = await _revived_for(arena, TOPIC_AWAY_S)
    arena.notes["exit_codes"] = ended
    # What aiokafka says, thousands of times, is not what ends a worker.
    said = [line for worker in workers for line in worker.log.splitlines() if " aiokafka." not in line]
    arena.require(any(topic in line for line in said), "no worker names the missing topic as its reason")
    await ensure_topics(arena.settings)
    await arena.ledger.reopen()
    await _revived_for(arena, REVIVE_EVERY_S)
    await arena.fleet.until_assigned()


async def _revived_for(arena: Arena, seconds: float) -> list[int]:
    """Start ended workers again, as an orchestrator does, for as long; the exit codes."""
    codes: list[int] = []
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        await asyncio.sleep(REVIVE_EVERY_S)
        codes += arena.fleet.revive()
    return codes


@asynccontextmanager
async def _admin(arena: Arena) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(arena.settings))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()
