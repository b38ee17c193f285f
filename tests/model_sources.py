"""Stand-ins for what model files are fetched from: a hub, and a proxy before an S3 server.

Both count what they are asked for, and break off answers where a test wants it.
"""

import http.client
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 20.0


class Source:
    """An HTTP server on loopback, and what it was asked for.

    Attributes:
        cuts: bytes after which each of the next answers to a GET breaks off; None: it does not.
        on_cut: called when an answer has broken off.
        stalls: an answer that breaks off stays open and silent until `release` is set.
        requests: method, path and headers (names in lower case) of each request.
    """

    def __init__(self) -> None:
        self.cuts: list[int | None] = []
        self.on_cut: Callable[[], None] = lambda: None
        self.stalls = False
        self.has_stalled = threading.Event()
        self.release = threading.Event()
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def ranges(self) -> list[str]:
        """The Range header of each GET that had one."""
        return [headers["range"] for method, _, headers in self.requests if headers.get("range") and method]

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; subclasses say."""
        raise NotImplementedError


@contextmanager
def serving(source: Source) -> Iterator[str]:
    """Serve a source on a free port; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            source.requests.append((self.command, self.path, headers))
            status, answer_headers, body = source.respond(self.command, self.path, headers)
            self.send_response(status)
            for name, value in answer_headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = source.cuts.pop(0) if source.cuts and status < 300 else None
            self.wfile.write(body[:cut])
            if cut is None:
                return
            self.wfile.flush()
            if source.stalls:
                source.has_stalled.set()
                source.release.wait(WAIT_S)
            source.on_cut()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        source.release.set()
        server.shutdown()
        server.server_close()
        thread.join(WAIT_S)


class Files(Source):
    """Serves files, with ranges unless `knows_ranges` is off."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.knows_ranges = True
        self.statuses: list[int] = []

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The file, or the next of `statuses` if there is one."""
        if self.statuses:
            return self.statuses.pop(0), {"Content-Length": "0"}, b""
        body = self.files.get(path)
        if body is None:
            return 404, {"Content-Length": "0"}, b""
        first = int(headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if not self.knows_ranges or "range" not in headers:
            return 200, {"Content-Length": str(len(body))}, body
        rest = body[first:]
        span = f"bytes {first}-{len(body) - 1}/{len(body)}"
        return 206, {"Content-Length": str(len(rest)), "Content-Range": span}, rest


class Redirects(Source):
    """Sends every request on to the same path of another server, as the hub does to its storage."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """A redirect."""
        return 302, {"Location": self.target + path, "Content-Length": "0"}, b""


class Proxy(Source):
    """Passes requests on to another server."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The other server's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() != "connection"}
            return answer.status, kept, body
        finally:
            connection.close()


def torchscript_archive(
    values: bytes,
    *,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int = 0,
    storage: str = "Float",
) -> bytes:
    """A TorchScript archive with one parameter ``w``, written by hand."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    reference = text("storage") + f"ctorch\n{storage}Storage\n".encode() + text("0") + text("cpu")
    tensor = b"(" + reference + number(len(values) // 4) + b"tQ" + number(offset)
    tensor += numbers(shape) + numbers(strides) + b"\x89}t"
    data = b"\x80\x02c__torch__\nM\n)\x81}(" + text("w")
    data += b"ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"Rub."
    return zipped(
        {
            "net/data.pkl": data,
            "net/data/0": values,
            "net/code/__torch__.py": b'class M(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n',
        }
    )


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip file, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
