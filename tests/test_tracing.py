"""What switches traces on, and that a collector gets them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kept_spans import SETTINGS, Message
from otlp_collector import Collector, open_collector

from streamapp import __version__, tracing
from streamapp.errors import FetchError, SettingsError
from streamapp.obtain import Obtained
from streamapp.reasons import Reason
from streamapp.tracing import exporters_in, open_tracing

TIMEOUT_S = 10
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "moderation"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp"]),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, []),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["console"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, []),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_standard_variables_switch_traces_on(variables: dict[str, str], exporters: list[str]) -> None:
    assert exporters_in(variables) == exporters


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "'grpc'.*4318"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
            },
            "http/json",
        ),
    ],
)
def test_an_exporter_that_streamapp_does_not_have_is_named(variables: dict[str, str], found: str) -> None:
    with pytest.raises(SettingsError, match=found):
        exporters_in(variables)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "-5"},
    ],
    ids=["exporter", "queue"],
)
async def test_a_worker_goes_on_without_traces_where_they_cant_be_had(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with open_tracing(SETTINGS) as opened:
        assert opened is None

    assert "No traces: " in caplog.text


async def test_a_worker_without_the_extra_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    async with open_tracing(SETTINGS) as opened:
        assert opened is None

    assert "pip install 'streamapp[tracing]'" in caplog.text


def test_without_a_variable_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    program = """
import asyncio, sys
import streamapp.app
from streamapp.settings import load_settings
from streamapp.tracing import open_tracing

async def main():
    async with open_tracing(load_settings({})) as opened:
        assert opened is None
    assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    assert "streamapp.spans" not in sys.modules

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# A collector.


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that the ``OTEL_*`` variables point at."""
    async with open_collector() as opened:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", opened.endpoint)
        yield opened


async def test_a_collector_gets_the_spans_before_the_worker_has_ended(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=7")
    async with asyncio.timeout(TIMEOUT_S):
        async with open_tracing(SETTINGS) as opened:
            assert opened is not None
            trace = opened.begin(Message(headers=[("traceparent", PARENT.encode())]))
            assert trace is not None
            trace.obtained(Obtained(None, FetchError(Reason.TIMEOUT, "late")))
            trace.end("rows", "timeout")
        request = await collector.requests.get()

    (resource_spans,) = request.resource_spans
    resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
    assert resource["service.name"] == "streamapp"
    assert resource["service.version"] == "7"
    assert resource["deployment.environment.name"] == "test"
    (scope_spans,) = resource_spans.scope_spans
    assert (scope_spans.scope.name, scope_spans.scope.version) == ("streamapp", __version__)
    assert [span.name for span in scope_spans.spans] == ["fetch", "send rows", "process modify_user"]
    root = scope_spans.spans[-1]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (PARENT[3:35], PARENT[36:52])
    assert root.status.message == "timeout"


async def test_a_collector_that_hangs_does_not_hold_up_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.gate.clear()
    monkeypatch.setattr(tracing, "FLUSH_TIMEOUT_S", 0.1)
    async with asyncio.timeout(TIMEOUT_S):
        async with open_tracing(SETTINGS) as opened:
            assert opened is not None
            trace = opened.begin(Message())
            assert trace is not None
            trace.end("rows")
        # Here the end is over, and the collector has not answered yet.
        await collector.began.wait()
        assert collector.requests.empty()
