"""Whether there are traces, and where they go: the standard ``OTEL_*`` variables say it.

Without them nothing of OpenTelemetry is imported, and tracing costs an event one look at a `None`.

==============================================  =========================================================
``OTEL_EXPORTER_OTLP_ENDPOINT``                 switches traces on, to this collector over OTLP/HTTP
``OTEL_TRACES_EXPORTER``                        ``otlp`` and ``console`` switch on, ``none`` off
``OTEL_SDK_DISABLED=true``                      off, whatever the others say
``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_…``      who sends; the service is ``streamapp`` by default
``OTEL_TRACES_SAMPLER``, ``…_SAMPLER_ARG``      which events; one that is not sampled costs its decision
``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_…``  and all others that OpenTelemetry's SDK for Python reads
==============================================  =========================================================
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from streamapp import __version__
from streamapp.errors import SettingsError
from streamapp.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from streamapp.spans import Tracing

logger = logging.getLogger(__name__)

# Longest wait for the last spans at the end; a collector that is away must not use up the drain's time.
FLUSH_TIMEOUT_S = 5.0

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"


@asynccontextmanager
async def open_tracing(settings: Settings) -> AsyncIterator["Tracing | None"]:
    """Open what makes the events' spans; None where no variable asks for it, or where it can't be had.

    What can't be had is logged as a warning and is no error: pictures are moderated without traces too.
    """
    provider = _provider_or_warning(os.environ)
    if provider is None:
        yield None
        return
    from streamapp.spans import Tracing

    try:
        yield Tracing(provider, settings)
    finally:
        # A daemon thread: the SDK waits for as long as a request to the collector takes.
        flush = threading.Thread(target=provider.shutdown, name="trace-flush", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_TIMEOUT_S)


def exporters_in(variables: Mapping[str, str]) -> list[str]:
    """The exporters that the ``OTEL_*`` variables ask for: ``otlp``, ``console``; empty where traces are off.

    Raises:
        SettingsError: they ask for an exporter or a protocol that streamapp does not have.
    """
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    named = [name.strip() for name in variables.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    if not named and any(variables.get(name) for name in _ENDPOINTS):
        named = ["otlp"]
    unknown = set(named) - {"otlp", "console", "none"}
    if unknown:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER is {','.join(named)!r}; streamapp has otlp, console and none."
        )
    exporters = [name for name in named if name != "none"]
    protocol = next((variables[name] for name in _PROTOCOLS if variables.get(name)), _PROTOCOL)
    if "otlp" in exporters and protocol != _PROTOCOL:
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; streamapp speaks {_PROTOCOL}, "
            "which collectors listen for on port 4318."
        )
    return exporters


def _provider_or_warning(variables: Mapping[str, str]) -> "TracerProvider | None":
    try:
        exporters = exporters_in(variables)
        return _provider(exporters) if exporters else None
    except ImportError as exc:
        logger.warning("No traces: %s. They need: pip install 'streamapp[tracing]'", exc)
    # ValueError: of the SDK, for a variable that it can't read.
    except (SettingsError, ValueError) as exc:
        logger.warning("No traces: %s", exc)
    return None


def _provider(exporters: list[str]) -> "TracerProvider":
    """The SDK's provider, with a thread that sends spans in the background; drops them where it can't."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    # Resource.create prefers what it is given to what the variables say.
    said = OTELResourceDetector().detect().attributes
    own = {
        "service.name": "streamapp",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
    }
    resource = Resource.create({name: value for name, value in own.items() if name not in said})
    kinds = {"otlp": OTLPSpanExporter, "console": ConsoleSpanExporter}
    processors = [BatchSpanProcessor(kinds[name]()) for name in exporters]
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider
