"""What a worker ends by is the first error, not what follows from it."""

import asyncio

from streamapp.app import create_app
from streamapp.batching import DeviceLostError
from streamapp.settings import load_settings


async def test_an_agent_that_is_cancelled_by_a_crash_does_not_hide_its_reason() -> None:
    app = create_app(load_settings({"STREAMAPP_MODELS": "nudenet"}))
    lost = DeviceLostError("the GPU is gone")
    await app.crash(lost)
    # As mode tells all above a service that crashed.
    app._crash(asyncio.CancelledError())

    assert app.crash_reason is lost
