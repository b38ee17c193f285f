"""Kafka Connect's REST API."""

import asyncio
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from streamapp.connect.status import ConnectorStatus
from streamapp.errors import ConnectError

# Connect itself gives up after 90 s: what it did not answer by then, it answers with 500.
_ANSWER_TIMEOUT_S = 95.0
_CONNECT_TIMEOUT_S = 10.0
_RETRY_EVERY_S = 0.5
_MAX_TEXT = 500

# While its workers agree on who does what, Connect answers 409, to a GET 500 (4.3.1); on its way up 503, and
# 404 before that.
_PASSING = frozenset({HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE})
_REBALANCING = "rebalance is expected"


class ConnectClient:
    """A client of one Connect worker, any of its group, as an async context manager::

        async with ConnectClient("http://127.0.0.1:8083") as connect:
            await connect.put_config("streamapp-postgres", config)

    What is refused because the workers rebalance is asked again for a while. Every method raises ConnectError
    where Connect can't be reached, does not answer in time or refuses; the message has its own words.
    """

    def __init__(self, url: str, *, patience_s: float = 30.0) -> None:
        """Take what is needed; nothing is asked yet.

        Args:
            url: of the REST API.
            patience_s: how long a request is repeated while the workers rebalance.
        """
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None

    async def classes(self) -> list[str]:
        """The connectors that are installed, by class."""
        return [str(plugin["class"]) for plugin in await self._ask("GET", "/connector-plugins", of=list)]

    async def validate(self, connector_class: str, config: Mapping[str, str]) -> list[dict[str, Any]]:
        """Have Connect and the connector look at a config, which must have a name.

        Returns:
            Each field's ``definition`` and ``value``, with what is wrong in ``value["errors"]``. The values
            are resolved: they hold secrets.
        """
        path = f"/connector-plugins/{quote(connector_class, safe='')}/config/validate"
        answer = await self._ask("PUT", path, config, of=dict)
        fields: list[dict[str, Any]] = answer["configs"]
        return fields

    async def names(self) -> list[str]:
        """The connectors that there are, sorted."""
        return sorted(await self._ask("GET", "/connectors", of=list))

    async def config(self, name: str) -> dict[str, str] | None:
        """A connector's config as it was sent, without its name; None where there is no such connector."""
        config = await self._ask("GET", f"{_path(name)}/config", of=dict, missing_is_none=True)
        return None if config is None else {key: value for key, value in config.items() if key != "name"}

    async def put_config(self, name: str, config: Mapping[str, str]) -> None:
        """Create a connector or change its config; either restarts it."""
        await self._ask("PUT", f"{_path(name)}/config", config, of=dict)

    async def task_count(self, name: str) -> int:
        """How many tasks a connector has been given."""
        answer = await self._ask("GET", f"{_path(name)}/tasks", of=list, missing_is_none=True)
        return len(answer or ())

    async def status(self, name: str) -> ConnectorStatus | None:
        """A connector's state and its tasks'; None where there is none yet, or no such connector."""
        answer = await self._ask("GET", f"{_path(name)}/status", of=dict, missing_is_none=True)
        return None if answer is None else ConnectorStatus.from_answer(answer)

    async def restart(self, name: str, *, only_failed: bool = True) -> None:
        """Restart what has failed of a connector and its tasks, or all of it."""
        options = f"includeTasks=true&onlyFailed={str(only_failed).lower()}"
        await self._ask("POST", f"{_path(name)}/restart?{options}")

    async def resume(self, name: str) -> None:
        """Start a connector that was paused or stopped."""
        await self._ask("PUT", f"{_path(name)}/resume")

    async def delete(self, name: str) -> None:
        """Stop a connector and forget it. Its offsets stay on the broker."""
        await self._ask("DELETE", _path(name))

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        *,
        of: type | None = None,
        missing_is_none: bool = False,
    ) -> Any:
        """One request, repeated while the workers rebalance; returns the answer's JSON, None for none.

        Args:
            of: what the answer must be, a list or a dict.
            missing_is_none: 404 is None and no error.
        """
        give_up_at = time.monotonic() + self._patience_s
        while True:
            status, answer = await self._send(method, path, body)
            if not _is_passing(status, answer) or time.monotonic() > give_up_at:
                break
            await asyncio.sleep(_RETRY_EVERY_S)
        if status == HTTPStatus.NOT_FOUND and missing_is_none:
            return None
        if status >= HTTPStatus.BAD_REQUEST:
            said = _message(answer)
            if "Request timed out" in said:
                said = f"{said}. What the connector logs in to may be out of its reach: see the worker's log"
            raise ConnectError(f"Kafka Connect at {self.url} refuses {method} {path} ({status}): {said}")
        if of is not None and not isinstance(answer, of):
            raise ConnectError(
                f"What is at {self.url} answers {method} {path} ({status}) as no Kafka Connect does. "
                "Is STREAMAPP_CONNECT_URL (or --url) its REST API?"
            )
        return answer

    async def _send(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[int, Any]:
        if self._session is None:
            raise ConnectError("The client of Kafka Connect is used outside its block. This is a bug.")
        sent = None if body is None else dict(body)
        try:
            async with self._session.request(method, self.url + path, json=sent) as response:
                return response.status, _json_or_text(await response.text(errors="replace"))
        except TimeoutError as exc:
            raise ConnectError(
                f"Kafka Connect at {self.url} did not answer {method} {path} in time. Look at its log."
            ) from exc
        except (aiohttp.ClientError, ValueError) as exc:
            why = exc.os_error.strerror if isinstance(exc, aiohttp.ClientConnectorError) else exc
            raise ConnectError(
                f"Kafka Connect can't be reached at {self.url}: {why}. "
                "Is it running, and is STREAMAPP_CONNECT_URL (or --url) its address?"
            ) from exc

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
        # Connect wants the header on a POST without a body as well.
        headers = {"Content-Type": "application/json"}
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _is_passing(status: int, answer: Any) -> bool:
    """Whether to ask again."""
    return status in _PASSING or (
        status == HTTPStatus.INTERNAL_SERVER_ERROR and _REBALANCING in _message(answer)
    )


def _message(answer: Any) -> str:
    """An error's words."""
    return str(answer.get("message", answer) if isinstance(answer, dict) else answer)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text[:_MAX_TEXT]


def _path(name: str) -> str:
    return f"/connectors/{quote(name, safe='')}"
