"""Pictures that are here already: ``data:`` and ``file:`` URLs, and plain paths.

Only for commands whose user names them on the command line. `check_url` refuses both schemes, so that an
event of the worker never reads a file of the machine that it runs on.
"""

import asyncio
import binascii
import errno
import os
import re
import stat
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from streamapp.errors import FetchError
from streamapp.reasons import Reason

_INLINE_SCHEME = re.compile(r"(data|file):", re.ASCII | re.IGNORECASE)
_BASE64 = re.compile(r";\s*base64\s*$", re.ASCII | re.IGNORECASE)
_LOCAL_HOSTS = ("", "localhost")


def is_url(argument: str) -> bool:
    """Whether a command's argument is a URL, not a path; a file of such a name is ``./data:x``."""
    return "://" in argument or _INLINE_SCHEME.match(argument) is not None


def is_inline(target: Path | str) -> bool:
    """Whether it is a path, a ``data:`` or a ``file:`` URL: what `read_inline` reads."""
    return isinstance(target, Path) or _INLINE_SCHEME.match(target) is not None


def name_of(target: Path | str) -> str:
    """The target as rows and screens show it: a ``data:`` URL without its data."""
    # A file's name can be any bytes, a row's text can not.
    text = str(target).encode(errors="replace").decode()
    if isinstance(target, Path) or text[:5].lower() != "data:":
        return text
    header, comma, _ = text.partition(",")
    return f"{header[:80]}{comma}…"


async def read_inline(target: Path | str, max_bytes: int) -> bytes:
    """The bytes of a path, a ``data:`` or a ``file:`` URL, under the bound of a download.

    Raises:
        FetchError: url_invalid, host_not_allowed, not_found, refused or too_large; ``attempts`` is 0.
    """
    return await asyncio.to_thread(_read, target, max_bytes)


def _read(target: Path | str, max_bytes: int) -> bytes:
    if isinstance(target, str) and target[:5].lower() == "data:":
        return read_data(target, max_bytes)
    return read_file(target if isinstance(target, Path) else file_of(target), max_bytes)


def read_data(url: str, max_bytes: int) -> bytes:
    """The bytes of a ``data:`` URL (RFC 2397); its media type is ignored, as every declared one is.

    Base64 is read as browsers read it: white space in it is dropped, and the padding may be missing.

    Raises:
        FetchError: url_invalid or too_large.
    """
    header, comma, payload = url.partition("#")[0].partition(",")
    if not comma:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} has no comma before its data.")
    content = unquote_to_bytes(os.fsencode(payload))
    if _BASE64.search(header) is None:
        return _bounded(content, len(content), max_bytes, name_of(url))
    content = b"".join(content.split()).rstrip(b"=")
    _bounded(content, len(content) * 3 // 4, max_bytes, name_of(url))
    try:
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error as exc:
        raise _refusal(Reason.URL_INVALID, f"The data of {name_of(url)!r} is not base64: {exc}.") from exc


def file_of(url: str) -> Path:
    """The path of a ``file:`` URL, percent-decoded (RFC 8089).

    Raises:
        FetchError: url_invalid or host_not_allowed.
    """
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} is not a URL: {exc}.") from exc
    if parts.netloc.lower() not in _LOCAL_HOSTS:
        raise _refusal(Reason.HOST_NOT_ALLOWED, f"{url!r:.80} names a host; write file:///path.")
    if parts.query or parts.fragment:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} has a '?' or a '#'; write %3F or %23.")
    path = unquote_to_bytes(os.fsencode(parts.path))
    if not path.startswith(b"/") or b"\0" in path:
        raise _refusal(Reason.URL_INVALID, f"{url!r:.80} does not name a file as file:///path.")
    return Path(os.fsdecode(path))


def read_file(file: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        FetchError: not_found, refused or too_large.
    """
    try:
        with open(file, "rb", opener=_open_at_once) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise _refusal(Reason.REFUSED, f"{file} is not a regular file.")
            found = opened.read(max_bytes + 1)
    except OSError as exc:
        reason = Reason.NOT_FOUND if exc.errno in (errno.ENOENT, errno.ENOTDIR) else Reason.REFUSED
        raise _refusal(reason, f"{file} can't be read: {exc.strerror}.") from exc
    return _bounded(found, len(found), max_bytes, str(file))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, as a FIFO would, and without taking over a terminal."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _bounded(content: bytes, size_bytes: int, max_bytes: int, name: str) -> bytes:
    if size_bytes > max_bytes:
        raise _refusal(Reason.TOO_LARGE, f"{name} has more than {max_bytes} bytes.")
    return content


def _refusal(reason: Reason, message: str) -> FetchError:
    return FetchError(reason, message, attempts=0)
