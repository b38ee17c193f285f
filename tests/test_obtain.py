"""From a URL to prepared frames, with a real server, the real decoder and models that stand in."""

import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fakes import BrightnessModel, FailingModel
from PIL import Image

from streamapp.errors import FetchError, MediaError, ModelError, PictureError, StreamappError
from streamapp.fetch.downloader import Downloader
from streamapp.media.decode import Limits
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.models.base import AnyModel
from streamapp.models.ensemble import Ensemble
from streamapp.models.runner import ModelRunner
from streamapp.obtain import Content, PictureSource
from streamapp.reasons import Reason
from streamapp.settings import Settings


def png(*greys: int) -> bytes:
    """A picture of one grey, or an animation of several, each shown for a second."""
    first, *others = [Image.new("L", (16, 8), grey) for grey in greys]
    file = io.BytesIO()
    first.save(file, "PNG", save_all=bool(others), append_images=others, duration=1000)
    return file.getvalue()


FILES = {"grey.png": png(90), "thirteen.png": png(13), "cut.png": png(90)[:-30], "text.png": b"no picture"}


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """Has the files, and one that fails always."""

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "failing.png":
            return web.Response(status=503)
        return web.Response(body=FILES[name]) if name in FILES else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    async with TestServer(app) as running:
        yield running


@pytest.fixture
def cpu() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix="cpu") as executor:
        yield executor


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(Limits(), decoders=1, timeout_s=30, memory_mb=1024) as pool:
        yield pool


@asynccontextmanager
async def source_for(
    cpu: ThreadPoolExecutor, decoders: DecoderPool, *models: AnyModel
) -> AsyncIterator[PictureSource]:
    settings = Settings(allow_private_hosts=("127.0.0.1",), download_attempts=3, retry_base_s=0.0)
    runners = [
        ModelRunner(
            lambda model=model: model,  # type: ignore[misc]
            cpu,
            instances=1,
            max_queued=8,
            max_wait_s=0,
            timeout_s=10,
        )
        for model in models
    ]
    async with Downloader(settings) as downloader, Ensemble(runners) as ensemble:
        yield PictureSource(downloader, cpu, decoders.decode, ensemble.prepare)


async def test_a_picture_comes_prepared_for_every_model_and_without_its_pixels(
    server: TestServer, cpu: ThreadPoolExecutor, decoders: DecoderPool
) -> None:
    async with source_for(cpu, decoders, BrightnessModel(), BrightnessModel()) as source:
        obtained = await source.obtain(str(server.make_url("/grey.png")))

    assert obtained.error is None and obtained.picture is not None
    assert [[frame.prepared for frame in frames] for frames in obtained.prepared] == [[90], [90]]
    assert [frame.pixels.size for frame in obtained.picture.frames] == [0]
    assert (obtained.picture.width_px, obtained.picture.height_px) == (16, 8)
    content = FILES["grey.png"]
    assert obtained.content == Content(hashlib.sha256(content).hexdigest(), len(content))
    assert obtained.attempts == 1
    assert min(obtained.fetch_s, obtained.decode_s, obtained.prepare_s) > 0


async def test_every_key_frame_is_prepared_in_the_order_of_time(
    cpu: ThreadPoolExecutor, decoders: DecoderPool
) -> None:
    async with source_for(cpu, decoders, BrightnessModel()) as source:
        obtained = await source.decode(png(10, 240))

    (frames,) = obtained.prepared
    assert obtained.picture is not None
    assert [frame.prepared for frame in frames] == [10, 240]
    assert [frame.pixels.size for frame in obtained.picture.frames] == [0, 0]


@pytest.mark.parametrize(
    ("name", "reason", "attempts"),
    [("missing.png", Reason.NOT_FOUND, 1), ("failing.png", Reason.SERVER_ERROR, 3)],
)
async def test_a_file_that_can_not_be_had_is_an_error_with_its_attempts_and_its_time(
    server: TestServer,
    cpu: ThreadPoolExecutor,
    decoders: DecoderPool,
    name: str,
    reason: Reason,
    attempts: int,
) -> None:
    async with source_for(cpu, decoders, BrightnessModel()) as source:
        obtained = await source.obtain(str(server.make_url(f"/{name}")))

    assert isinstance(obtained.error, FetchError)
    assert (obtained.error.reason, obtained.attempts) == (reason, attempts)
    assert obtained.fetch_s > 0
    assert obtained.picture is None and obtained.content is None
    assert obtained.prepared == ()


async def test_a_url_that_is_refused_makes_no_request(cpu: ThreadPoolExecutor, decoders: DecoderPool) -> None:
    async with source_for(cpu, decoders, BrightnessModel()) as source:
        obtained = await source.obtain("http://169.254.169.254/latest/meta-data")

    assert obtained.error is not None
    assert (obtained.error.reason, obtained.attempts) == (Reason.ADDRESS_BLOCKED, 0)


@pytest.mark.parametrize(
    ("name", "reason"), [("cut.png", Reason.BROKEN_FILE), ("text.png", Reason.UNKNOWN_FORMAT)]
)
async def test_a_file_that_can_not_be_decoded_is_still_known_by_its_digest(
    server: TestServer, cpu: ThreadPoolExecutor, decoders: DecoderPool, name: str, reason: Reason
) -> None:
    async with source_for(cpu, decoders, BrightnessModel()) as source:
        obtained = await source.obtain(str(server.make_url(f"/{name}")))

    assert isinstance(obtained.error, MediaError)
    assert obtained.error.reason == reason
    assert obtained.content == Content(hashlib.sha256(FILES[name]).hexdigest(), len(FILES[name]))
    assert obtained.picture is None
    assert obtained.fetch_s > 0 and obtained.decode_s > 0


async def test_a_model_that_can_not_prepare_a_frame_costs_no_other_model_its_own(
    server: TestServer, cpu: ThreadPoolExecutor, decoders: DecoderPool
) -> None:
    async with source_for(cpu, decoders, FailingModel("prepare"), BrightnessModel()) as source:
        obtained = await source.obtain(str(server.make_url("/thirteen.png")))

    (failed,), (prepared,) = obtained.prepared
    assert obtained.error is None and obtained.picture is not None
    assert isinstance(failed.error, ModelError)
    assert failed.error.reason == Reason.MODEL_RAISED
    assert (prepared.prepared, prepared.error) == (13, None)


async def test_that_no_decoder_can_be_had_is_no_pictures_fault(
    server: TestServer, cpu: ThreadPoolExecutor
) -> None:
    closed = DecoderPool(Limits(), decoders=1, timeout_s=30, memory_mb=1024)
    closed.close()

    async with source_for(cpu, closed, BrightnessModel()) as source:
        with pytest.raises(StreamappError, match="closed") as caught:
            await source.obtain(str(server.make_url("/grey.png")))

    assert not isinstance(caught.value, PictureError)
