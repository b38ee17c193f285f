"""The cases of the chaos suite: what is done to the workers and the broker, and what must hold."""

import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from chaos.arena import Arena
from chaos.broker_faults import (
    broker_away,
    broker_killed,
    results_too_large,
    results_topic_missing,
)
from chaos.pictures import HANGS, PLAIN, RAISES
from chaos.rounds import Round
from chaos.storm import everything_at_once
from chaos.terms import Terms

from streamapp.policy.loading import DEFAULT_FILE

ZOMBIE_S = 9.0
ORDERLY = 0


async def one_killed(arena: Arena) -> None:
    """SIGKILL a worker, and start another in its place at once."""
    arena.fleet.kill(arena.dice.choice(arena.fleet.alive))
    arena.fleet.start()
    await arena.fleet.until_assigned()


async def one_stopped(arena: Arena) -> None:
    """SIGTERM a worker, and start another in its place when it has ended."""
    code = await arena.fleet.stop(arena.dice.choice(arena.fleet.alive))
    arena.require(code == ORDERLY, f"SIGTERM ended a worker with exit code {code}")
    arena.fleet.start()
    await arena.fleet.until_assigned()


async def one_halted(arena: Arena) -> None:
    """SIGSTOP a worker past its session timeout, then let it go on: a zombie, with events in its hands.

    Its late acks must not count: a commit that went back, or past an event without an outcome, is the
    ledger's to find.
    """
    zombie = arena.dice.choice(arena.fleet.alive)
    before = zombie.log.count("Assigned ")
    zombie.process.send_signal(signal.SIGSTOP)
    try:
        await arena.keep_loading(ZOMBIE_S)
    finally:
        zombie.process.send_signal(signal.SIGCONT)
    await arena.until(
        lambda: zombie.process.poll() is not None or zombie.log.count("Assigned ") > before,
        "the zombie joins again",
    )
    arena.notes["zombie_commits_refused"] = zombie.log.count("OffsetCommit failed")
    arena.notes["zombie_ended"] = bool(arena.fleet.revive())
    await arena.fleet.until_assigned()


async def all_renewed(arena: Arena) -> None:
    """Stop and start the workers one by one, with a policy of another version."""
    text = DEFAULT_FILE.read_text("utf-8")
    version = f"chaos-{arena.fleet.started}"
    policy = arena.folder / f"{version}.yaml"
    policy.write_text(
        "".join(_with_version(line, version) for line in text.splitlines(keepends=True)), "utf-8"
    )
    for worker in list(arena.fleet.alive):
        code = await arena.fleet.stop(worker)
        arena.require(code == ORDERLY, f"SIGTERM ended a worker with exit code {code}")
        arena.fleet.start(STREAMAPP_POLICY_FILE=str(policy))
        await arena.fleet.until_assigned()
    arena.notes["policy"] = version


def _with_version(line: str, version: str) -> str:
    return f'version: "{version}"\n' if line.startswith("version:") else line


async def up_and_down(arena: Arena) -> None:
    """From one worker to three, and back to one."""
    arena.fleet.start(2)
    await arena.fleet.until_assigned()
    await arena.keep_loading(2.0)
    for worker in arena.fleet.alive[1:]:
        code = await arena.fleet.stop(worker)
        arena.require(code == ORDERLY, f"SIGTERM ended a worker with exit code {code}")
    await arena.fleet.until_assigned()


async def model_fails(arena: Arena) -> None:
    """Let the model meet pictures that it raises on, and one that it hangs on."""
    arena.hang_file.touch()
    await arena.until(lambda: not arena.hang_file.exists(), "a model hangs", 120.0)
    await arena.until(lambda: bool(arena.fleet.revive()), "the worker whose model hangs ends", 120.0)
    arena.notes["exit_code"] = arena.fleet.exit_codes[-1]
    await arena.fleet.until_assigned()


def only_raising_pictures_have_status_4(played: Round) -> list[str]:
    """STATUS 4 where the model raised and nowhere else."""
    wrong = [f for f in played.fates if f.is_row and (f.status == 4) != (f.colour == RAISES)]
    played.line["status_4"] = sum(f.status == 4 for f in played.fates)
    return [f"{len(wrong)} rows have the wrong STATUS, such as {wrong[0]}"] if wrong else []


def the_new_policy_is_in_the_last_rows(played: Round) -> list[str]:
    """Rows of both policies, and the new one in the end."""
    rows = sorted((f.first_ms or 0, f.policy) for f in played.fates if f.is_row)
    return [] if rows[-1][1] == played.line["policy"] else [f"The last row's policy is {rows[-1][1]}"]


Check = Callable[[Round], list[str]]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        rounds: in `make chaos`.
        fault: what is done, while the load goes on.
        checks: of a round, beside those that all cases share (DESIGN §3).
        least_clean: share of the rounds that must end without a duplicate.
        terms: under which it is played.
        only_kafka: what the embedded broker lacks for it; empty: nothing.
    """

    name: str
    title: str
    rounds: int
    fault: Callable[[Arena], Awaitable[None]]
    checks: Sequence[Check] = ()
    least_clean: float = 0.0
    terms: Terms = field(default_factory=Terms)
    only_kafka: str = ""


_MEMORY_ONLY = "it keeps everything in memory: what it had is gone with it"

CASES: tuple[Case, ...] = (
    Case("sigkill", "SIGKILL of a random worker, restarted", 100, one_killed),
    Case("sigterm", "SIGTERM of a random worker under load", 30, one_stopped, least_clean=28 / 30),
    Case("sigstop", "SIGSTOP of a worker past its session timeout, then SIGCONT", 10, one_halted),
    Case("broker_kill", "broker SIGKILL and restart on its data", 10, broker_killed, only_kafka=_MEMORY_ONLY),
    Case(
        "broker_away",
        "broker away for 3 minutes; the same workers go on",
        2,
        broker_away(180.0),
        terms=Terms(has_pages=True, rate_per_s=30.0),
        only_kafka=_MEMORY_ONLY,
    ),
    Case("storm", "all of these at random, overlapping", 10, everything_at_once, only_kafka=_MEMORY_ONLY),
    Case(
        "rolling",
        "rolling restart of all workers with a new policy version",
        5,
        all_renewed,
        checks=(the_new_policy_is_in_the_last_rows,),
    ),
    Case("scaling", "scale 1 → 3 → 1 under load", 5, up_and_down, terms=Terms(workers=1)),
    Case(
        "model_fails",
        "a model that raises on 1 % of frames, and hangs once",
        5,
        model_fails,
        checks=(only_raising_pictures_have_status_4,),
        terms=Terms(
            shares={PLAIN: 0.985, RAISES: 0.01, HANGS: 0.005},
            variables={"STREAMAPP_MODEL_TIMEOUT_S": "3"},
        ),
    ),
    Case(
        "too_large",
        "results topic refuses: message too large",
        3,
        results_too_large,
        only_kafka="the limits of its topics can't be changed",
    ),
    Case(
        "topic_missing",
        "results topic refuses: topic missing",
        3,
        results_topic_missing,
        only_kafka="a record for a topic that was deleted makes the topic anew",
    ),
)

BY_NAME: dict[str, Case] = {case.name: case for case in CASES}

REAL_MODEL = {"CHAOS_MODEL": "nudenet", "STREAMAPP_NUDENET_THREADS": "1"}
