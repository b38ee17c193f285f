"""The worker's pages for those who run it: /live, /ready and /metrics."""

import errno
import socket
from typing import TYPE_CHECKING, Any

from streamapp.errors import StreamappError
from streamapp.health import Conditions, live, ready
from streamapp.metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from streamapp.app import Worker


def add_pages(app: "Worker") -> None:
    """Add the pages to a worker; `open_pages` lets them answer."""

    @app.page("/live")  # type: ignore[untyped-decorator]  # Faust is untyped, here and below
    async def live_page(page: Any, _: Any) -> Any:
        return _answer(page, live(app.situation()))

    @app.page("/ready")  # type: ignore[untyped-decorator]
    async def ready_page(page: Any, _: Any) -> Any:
        return _answer(page, ready(app.situation()))

    @app.page("/metrics")  # type: ignore[untyped-decorator]
    async def metrics_page(page: Any, _: Any) -> Any:
        return page.bytes(
            exposition(app.parts, ready(app.situation())), headers={"Content-Type": CONTENT_TYPE}
        )


async def open_pages(app: "Worker") -> None:
    """Let the pages answer from now on; without effect where they do, or where the worker has none.

    Raises:
        StreamappError: their port can't be had.
    """
    if not app.conf.web_enabled:
        return
    try:
        if not app.web.started:
            # Tried before: Faust's thread that can't have it ends in 150 lines of tracebacks.
            _try_port(app.conf.web_bind, app.conf.web_port)
        await app.web.maybe_start()
    except OSError as exc:
        raise StreamappError(
            f"The worker's pages can't be served: {exc}. Another worker on this machine needs another "
            "STREAMAPP_WEB_PORT, or --without-web."
        ) from exc


def _try_port(host: str, port: int) -> None:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        socket.create_server(address[:2], family=family).close()
    except OSError as exc:
        # The server leaves out a family that the machine lacks.
        if exc.errno != errno.EAFNOSUPPORT:
            raise


def _answer(page: Any, conditions: Conditions) -> Any:
    """200 where all hold, else 503; each of them in the JSON."""
    body = {name: {"holds": seen.holds, "detail": seen.detail} for name, seen in conditions.items()}
    return page.json(body, status=200 if all(seen.holds for seen in conditions.values()) else 503)
