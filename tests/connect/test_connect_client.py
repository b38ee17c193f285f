"""The client of Connect's REST API against servers that answer as a busy, a broken or no Connect does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from streamapp.connect import client as client_module
from streamapp.connect.apply import Change, Checked, Outcome, _changes, apply, wait_until_running
from streamapp.connect.checks import Problem, find_problems
from streamapp.connect.client import ConnectClient
from streamapp.connect.files import ConnectorFile, read_connector_file
from streamapp.errors import ConnectError
from streamapp.local.broker import free_port

REBALANCING = {"error_code": 409, "message": "Cannot complete request momentarily due to stale configuration"}
# To a GET; as 4.3.1 said it.
EXPECTED = {"error_code": 500, "message": "Request cannot be completed because a rebalance is expected"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback; its URL."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_RETRY_EVERY_S", 0.01)


@pytest.mark.parametrize(("passing", "said"), [(409, REBALANCING), (503, {}), (500, EXPECTED)])
async def test_what_is_refused_during_a_rebalance_is_asked_again(
    passing: int, said: dict[str, object]
) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.raw_path}")
        if len(asked) < 3:
            return web.json_response(said, status=passing)
        return web.json_response({"name": "a/b"}, status=201)

    async with answering(handler) as url, ConnectClient(url) as connect:
        await connect.put_config("a/b", {"tasks.max": "1"})
    assert asked == ["PUT /connectors/a%2Fb/config"] * 3


async def test_a_rebalance_without_end_is_told_with_connects_own_words() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(REBALANCING, status=409)

    async with answering(handler) as url, ConnectClient(url, patience_s=0.05) as connect:
        with pytest.raises(
            ConnectError, match=r"refuses GET /connectors \(409\): Cannot complete request mo"
        ):
            await connect.names()


async def test_another_refusal_is_told_at_once() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(text="<html>Bad Gateway</html>", status=502, content_type="text/html")

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(ConnectError, match=r"\(502\): <html>Bad Gateway"):
            await connect.names()
    assert len(asked) == 1


async def test_a_login_that_takes_too_long_is_told_with_where_to_look() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        said = "Request timed out. The worker is currently performing multi-property validation"
        return web.json_response({"error_code": 500, "message": said}, status=500)

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(ConnectError, match="may be out of its reach: see the worker's log"):
            await connect.validate("a.B", {})


async def test_no_answer_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_ANSWER_TIMEOUT_S", 0.05)
    release = asyncio.Event()

    async def handler(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.json_response([])

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(ConnectError, match="did not answer GET /connectors in time"):
            await connect.names()
        release.set()


async def test_nobody_there_is_told_with_the_setting() -> None:
    async with ConnectClient(f"http://127.0.0.1:{free_port()}") as connect:
        with pytest.raises(ConnectError, match=r"can't be reached at http://127.* STREAMAPP_CONNECT_URL"):
            await connect.names()


async def test_a_connection_that_breaks_off_is_told() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(ConnectError, match="can't be reached"):
            await connect.names()


@pytest.mark.parametrize("answer", ["<html>Console</html>", "{}", ""])
async def test_another_server_at_the_address_is_told(answer: str) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=answer)

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(ConnectError, match=r"as no Kafka Connect does\. Is STREAMAPP_CONNECT_URL"):
            await connect.classes()


async def test_a_connector_that_was_paused_is_started_by_apply() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        if request.path.endswith("/tasks"):
            return web.json_response([{}])
        state = "RUNNING" if "PUT /connectors/one/resume" in asked else "PAUSED"
        part = {"state": state, "worker_id": "a:1"}
        return web.json_response({"name": "one", "connector": part, "tasks": [{"id": 0, **part}]})

    checked = Checked(ConnectorFile(Path("one.json"), "one", {}), [], Outcome.UNCHANGED, [])
    async with answering(handler) as url, ConnectClient(url) as connect:
        status = await apply(connect, checked, timeout_s=60, settle_s=0)
    assert status.is_running(1)
    assert [one for one in asked if not one.startswith("GET")] == ["PUT /connectors/one/resume"]


async def test_a_connector_that_never_runs_is_told_with_its_states() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/tasks"):
            return web.json_response([{}, {}])
        tasks = [{"id": 0, "state": "RUNNING", "worker_id": "a:1"}]
        part = {"state": "RUNNING", "worker_id": "a:1"}
        return web.json_response({"name": "one", "connector": part, "tasks": tasks})

    async with answering(handler) as url, ConnectClient(url) as connect:
        with pytest.raises(
            ConnectError, match=r"did not run within 0 s \(connector RUNNING, task 0 RUNNING\)"
        ):
            await wait_until_running(connect, "one", timeout_s=0, settle_s=0)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("${env:SECRET}", "Invalid value ${env:SECRET} for configuration a: ${env:SECRET} is no number"),
        ("x${env:SECRET}", "Invalid value x${env:SECRET} for configuration a: x${env:SECRET} is no number"),
        ("hidden", "Invalid value hidden for configuration a: hidden is no number"),
    ],
)
def test_a_finding_tells_what_the_file_has_and_not_what_the_worker_put_in(sent: str, told: str) -> None:
    said = "Invalid value hidden for configuration a: hidden is no number"
    field = {"definition": None, "value": {"name": "a", "value": None, "errors": [said]}}
    assert find_problems("x.Y", {"a": sent}, [field]) == [Problem("a", told)]


def test_a_secrets_value_is_never_among_the_changes() -> None:
    before = {"a": "1", "password": "old-secret", "gone": "x"}
    after = {"a": "1", "password": "new-secret", "new": "y"}
    changes = _changes(before, after, frozenset({"password"}))
    assert changes == [Change("gone", "x", None), Change("new", None, "y"), Change("password", "…", "…")]
    assert [str(change) for change in changes] == ["- gone = x", "+ new = y", "~ password = … → …"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "must hold one JSON object"),
        ('{"connector.class": "a.B", "tasks.max": 1}', 'tasks.max must be a text, as all in Connect: "1"'),
        ('{"topics": "a", "topics": "b"}', "topics is there twice"),
        ('{"topics": "a"}', "connector.class is missing"),
    ],
)
def test_a_file_that_is_no_connector_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "connector.json"
    path.write_text(text)
    with pytest.raises(ConnectError) as caught:
        read_connector_file(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_name_in_the_command_wins_over_the_files(tmp_path: Path) -> None:
    path = tmp_path / "connector.json"
    path.write_text(json.dumps({"connector.class": "a.B", "name": "inside"}))
    assert read_connector_file(path).name == "inside"
    assert read_connector_file(path, "given").name == "given"
    assert read_connector_file(path).config == {"connector.class": "a.B"}
