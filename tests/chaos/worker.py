"""The worker of the chaos suite, run by it through Faust: the real app, all but the network.

Fetching, decoding, batching, window, acks and producer are the worker's own. CHAOS_MODEL=nudenet runs the
real network too; CHAOS_ACKS=as_completed is the mutation that the suite must find: acks that leave in the
order in which the events are done.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from unittest.mock import patch

import mode.loop
from chaos.pictures import HANGS, RAISES, colour_of

from streamapp.app import create_app
from streamapp.media import Frame
from streamapp.models.base import Findings, Model, ModelInfo, Verdict
from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner
from streamapp.policy import Policy
from streamapp.settings import Settings, load_settings
from streamapp.window import OffsetWindow, Payload, Ticket

HANG_S = 3600.0


class ColourModel(Model[str, str, str]):
    """Finds a picture's colour, at no cost; raises on `RAISES`, hangs on `HANGS`.

    Args:
        hang_file: one model hangs for each time that it is there, and takes it away.
    """

    name = "nudenet"
    prefix = "NN"
    batch_sizes = (1, 4, 16)
    info = ModelInfo("colour", "00" * 32, "fp32", "cpu")

    def __init__(self, hang_file: Path) -> None:
        self._hang_file = hang_file

    def check_weights(self) -> None: ...

    def load(self) -> None: ...

    def warm_up(self) -> None: ...

    def try_out(self) -> None:
        """Works: black, which the others are tried on, is `RAISES` by the strongest channel."""

    def prepare(self, frame: Frame) -> str:
        return colour_of(frame.pixels)

    def infer(self, batch: Sequence[str]) -> Sequence[str]:
        if HANGS in batch and self._is_to_hang():
            time.sleep(HANG_S)
        if RAISES in batch:
            raise ValueError(f"{RAISES} in a batch of {len(batch)}")
        return batch

    def _is_to_hang(self) -> bool:
        try:
            self._hang_file.unlink()
        except FileNotFoundError:
            return False
        return True

    def finish(self, raw: str, prepared: str) -> str:
        return raw

    def judge(self, findings: Findings) -> Verdict:
        return Verdict(False, {"NN_SAFE_SCORES": "1.0000", "NN_UNSAFE_SCORES": "0.0000"})


def build_stand_in(settings: Settings, policy: Policy, cpu: Executor) -> Ensemble:
    """In place of the models of the settings."""
    runner = ModelRunner(
        lambda: ColourModel(Path(os.environ["CHAOS_HANG_FILE"])),
        cpu,
        instances=1,
        max_queued=settings.nudenet_queue,
        max_wait_s=settings.batch_wait_s,
        timeout_s=settings.model_timeout_s,
    )
    return Ensemble([runner])


class AckAsCompleted(OffsetWindow[Payload]):
    """The mistake that the window is there against."""

    def complete(self, ticket: Ticket[Payload]) -> list[Ticket[Payload]]:
        super().complete(ticket)
        return [ticket] if self.is_current(ticket) else []


if os.environ.get("CHAOS_MODEL") != "nudenet":
    patch("streamapp.engine.build_ensemble", build_stand_in).start()
if os.environ.get("CHAOS_ACKS") == "as_completed":
    patch("streamapp.agents.intake.OffsetWindow", AckAsCompleted).start()
mode.loop.use("uvloop")
app = create_app(load_settings())
