"""The watchdog ends the process where nothing else does."""

import asyncio
import logging
import queue
import threading
import time
from typing import Any

import pytest

from streamapp.exits import Exit, exit_for
from streamapp.watchdog import Pulse, Watchdog

TIMEOUT_S = 20


def watchdog(pulse: Pulse, ended: "queue.Queue[int]", **options: Any) -> Watchdog:
    defaults: dict[str, Any] = {
        "loop_timeout_s": 1.0,
        "drain_timeout_s": 3600.0,
        "is_ending": lambda: False,
        "overdue_exit": lambda: Exit.DRAIN_OVERDUE,
        "end": ended.put,
    }
    return Watchdog(pulse, **defaults | options)


async def test_a_loop_that_stands_still_ends_the_process_and_the_log_says_where(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: queue.Queue[int] = queue.Queue()
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    watchdog(pulse, ended).start()

    def block_the_loop() -> int:
        return ended.get(timeout=TIMEOUT_S)

    with caplog.at_level(logging.ERROR):
        assert block_the_loop() == Exit.HUNG
    beating.cancel()
    assert "has not turned for 1 s" in caplog.text
    assert "in block_the_loop" in caplog.text


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_loop_that_turns_is_left_alone_and_so_is_one_that_has_not_begun(has_begun: bool) -> None:
    ended: queue.Queue[int] = queue.Queue()
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run()) if has_begun else None
    is_over = threading.Event()
    # More rounds than the bound allows a loop that stands still.
    rounds = iter(range(4))

    def is_ending() -> bool:
        if next(rounds, None) is None:
            is_over.set()
            return True
        return False

    watchdog(pulse, ended, is_ending=is_ending).start()
    assert await asyncio.to_thread(is_over.wait, TIMEOUT_S)
    assert ended.empty()
    if beating is not None:
        beating.cancel()


@pytest.mark.parametrize("code", [Exit.DRAIN_OVERDUE, Exit.HUNG])
def test_an_end_that_does_not_come_is_forced_with_the_code_of_its_cause(code: Exit) -> None:
    ended: queue.Queue[int] = queue.Queue()
    watchdog(Pulse(), ended, is_ending=lambda: True, drain_timeout_s=0.01, overdue_exit=lambda: code).start()

    assert ended.get(timeout=TIMEOUT_S) == code


def test_a_log_that_nobody_reads_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: queue.Queue[int] = queue.Queue()
    is_read = threading.Event()
    monkeypatch.setattr("streamapp.watchdog._LAST_WORDS_S", 0.01)
    monkeypatch.setattr("streamapp.watchdog.logger.error", lambda *_: is_read.wait(TIMEOUT_S))
    watchdog(Pulse(), ended, is_ending=lambda: True, drain_timeout_s=0.01).start()

    assert ended.get(timeout=TIMEOUT_S) == Exit.DRAIN_OVERDUE
    is_read.set()


async def test_the_pulse_tells_how_late_the_loop_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.watchdog.PULSE_S", 0.001)
    pulse = Pulse()
    assert pulse.still_s == 0
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    time.sleep(0.02)  # the loop stands still
    assert pulse.still_s >= 0.02
    async with asyncio.timeout(TIMEOUT_S):
        while pulse.beats < 2:
            await asyncio.sleep(0)
    beating.cancel()

    assert pulse.lag_s.sum >= 0.018


def test_an_error_without_a_code_of_its_own_has_none() -> None:
    assert exit_for(None) is exit_for(ValueError()) is None
