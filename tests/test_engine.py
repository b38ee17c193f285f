"""The worker's engine, put together as the worker does it, with the real network."""

import asyncio
import io
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image

from streamapp import engine as engine_module
from streamapp.engine import open_engine
from streamapp.media import Picture
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.policy import load_policy
from streamapp.reasons import Status
from streamapp.records import Event
from streamapp.settings import Settings

# For one batch of one small frame, on a machine that does a lot else.
MODEL_TIMEOUT_S = 15.0
TIMEOUT_S = 60.0


class HoldablePool(DecoderPool):
    """Decodes no file while it is held."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.go_on = threading.Event()
        self.go_on.set()
        self.waits = threading.Event()

    def decode(self, content: bytes) -> Picture:
        if not self.go_on.is_set():
            self.waits.set()
            self.go_on.wait(TIMEOUT_S)
        return super().decode(content)


async def test_a_verdict_does_not_wait_for_the_pictures_that_are_to_be_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "DecoderPool", HoldablePool)
    settings = Settings(models=("nudenet",), decode_threads=1, model_timeout_s=MODEL_TIMEOUT_S)
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "green").save(file, "PNG")
    async with asyncio.timeout(TIMEOUT_S), open_engine(settings, load_policy(None)) as engine:
        pool = engine.decoders
        assert isinstance(pool, HoldablePool)
        obtained = await engine.source.decode(file.getvalue())
        pool.go_on.clear()
        later = asyncio.create_task(engine.source.decode(file.getvalue()))
        assert await asyncio.to_thread(pool.waits.wait, TIMEOUT_S)
        try:
            row = await engine.judge(
                Event("7", "https://x/a.png", None, None, None),
                obtained,
                source=None,
                received_at=datetime.now(UTC),
                started_s=0.0,
            )
        finally:
            pool.go_on.set()
            await later

    assert row.MODEL_ATTRIBUTES.NN_STATUS == Status.PREDICTED
