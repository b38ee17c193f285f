"""Faults that overlap: what one of them alone does not show."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from chaos.arena import Arena
from workers import WorkerProcess

from streamapp.exits import Exit

FAULTS = 12
# Seconds: between the beginnings of two faults; that a worker is halted; that a further one stays. At random.
PAUSE_S = (0.1, 2.0)
HALT_S = (0.5, 9.0)
STAY_S = (3.0, 9.0)
CALM_WITHIN_S = 120.0
# Of a SIGTERM: in order; late, where the broker held it up; before the worker was there to see to it.
ENDS = {Exit.ORDERLY, Exit.DRAIN_OVERDUE, -signal.SIGTERM}


class Storm:
    """Kills, stops, halts and adds workers and kills the broker, the next before the last is over."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._dice = arena.dice
        self._halted: set[WorkerProcess] = set()
        self._is_broker_away = False
        self.counts: Counter[str] = Counter()

    async def rage(self) -> None:
        """Let the faults happen, and return when the last is over."""
        faults: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "killed": self._killed,
            "stopped": self._stopped,
            "halted": self._halt,
            "guests": self._guest,
            "broker_killed": self._broker_killed,
        }
        async with asyncio.TaskGroup() as group:
            for name in self._dice.choices(list(faults), weights=(3, 2, 3, 2, 1), k=FAULTS):
                group.create_task(faults[name]())
                self.counts[name] += 1
                await asyncio.sleep(self._dice.uniform(*PAUSE_S))

    async def _killed(self) -> None:
        if worker := self._victim():
            self._arena.fleet.kill(worker)
            self._arena.fleet.start()

    async def _stopped(self) -> None:
        if worker := self._victim():
            await self._end(worker)
            self._arena.fleet.start()

    async def _halt(self) -> None:
        if worker := self._victim():
            self._halted.add(worker)
            worker.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(self._dice.uniform(*HALT_S))
            finally:
                worker.process.send_signal(signal.SIGCONT)
                self._halted.remove(worker)

    async def _guest(self) -> None:
        (guest,) = self._arena.fleet.start()
        await asyncio.sleep(self._dice.uniform(*STAY_S))
        if guest in self._arena.fleet.alive and guest not in self._halted:
            await self._end(guest)

    async def _broker_killed(self) -> None:
        if not self._is_broker_away:
            self._is_broker_away = True
            await asyncio.to_thread(self._arena.kafka.kill)
            await asyncio.to_thread(self._arena.kafka.start)
            self._is_broker_away = False

    async def _end(self, worker: WorkerProcess) -> None:
        code = await self._arena.fleet.stop(worker)
        self._arena.require(
            code in ENDS, f"SIGTERM ended a worker with exit code {code}:\n{worker.log[-1500:]}"
        )

    def _victim(self) -> WorkerProcess | None:
        free = [worker for worker in self._arena.fleet.alive if worker not in self._halted]
        return self._dice.choice(free) if free else None


async def everything_at_once(arena: Arena) -> None:
    """A storm; then as many workers as before it share the partitions, those that ended replaced."""
    fleet = arena.fleet
    storm, before = Storm(arena), len(fleet.alive)
    ended_before = len(fleet.exit_codes)
    await storm.rage()
    arena.notes["faults"] = dict(storm.counts)
    codes = fleet.revive()
    arena.require(not codes, f"Workers ended by themselves, with exit codes {codes}")
    for worker in fleet.alive[before:]:
        await fleet.stop(worker)
    arena.notes["exit_codes"] = fleet.exit_codes[ended_before:]
    await fleet.until_assigned(CALM_WITHIN_S)
