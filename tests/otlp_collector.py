"""An OTLP/HTTP receiver on loopback, as a collector of traces is one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Keeps what it is sent; answers once its gate is open.

    Attributes:
        endpoint: for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        began: whether a request has come.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.requests: asyncio.Queue[ExportTraceServiceRequest] = asyncio.Queue()
        self.began = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        self.began.set()
        await self.gate.wait()
        self.requests.put_nowait(ExportTraceServiceRequest.FromString(body))
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.endpoint = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield collector
    finally:
        collector.gate.set()
        await runner.cleanup()
