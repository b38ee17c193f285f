"""The model hub, over plain HTTP with ranges; endpoint, token and offline switch are huggingface_hub's."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_token, hf_hub_url

from streamapp import __version__
from streamapp.errors import WeightsError
from streamapp.models.store.lock import HubSource
from streamapp.models.store.transfer import (
    CHUNK_BYTES,
    AbsentError,
    BrokenTransferError,
    RemoteFile,
    Stream,
)

TIMEOUT_S = 30.0

_PASSING_STATUSES = {408, 425, 429}


class HubFile:
    """One file of a repository at the commit that the lock file pins."""

    def __init__(self, source: HubSource) -> None:
        self.place = f"{source.repo}/{source.file} on the hub"
        self._source = source

    def look(self) -> RemoteFile:
        """Say what the lock file pins: a commit's file does not change, so there is nothing to ask.

        Raises:
            AbsentError: the hub is switched off by HF_HUB_OFFLINE.
        """
        if constants.HF_HUB_OFFLINE:
            raise AbsentError(f"{self.place} is not asked for, HF_HUB_OFFLINE is set")
        return RemoteFile(size=self._source.size, version=self._source.sha256)

    @contextmanager
    def open(self, offset: int, version: str) -> Iterator[Stream]:
        """Read from an offset on, through the hub's redirect to its storage."""
        with self._translated(), urllib.request.urlopen(self._request(offset), timeout=TIMEOUT_S) as answer:
            start = offset if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            yield Stream(start, iter(lambda: answer.read(CHUNK_BYTES), b""))

    def _request(self, offset: int) -> urllib.request.Request:
        source = self._source
        request = urllib.request.Request(hf_hub_url(source.repo, source.file, revision=source.revision))
        if not request.full_url.startswith(("https://", "http://")):
            raise WeightsError(f"HF_ENDPOINT is no http URL: {request.full_url}.")
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("User-Agent", f"streamapp/{__version__}")
        token = get_token()
        if token is not None:
            # Not carried on by a redirect: the storage is another host, and must not see the token.
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        return request

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as exc:
            exc.close()
            self._raise_status(exc)
        except urllib.error.URLError as exc:
            if isinstance(exc.reason, ssl.SSLCertVerificationError):
                raise WeightsError(
                    f"The certificate of the hub can't be verified ({exc.reason}): set SSL_CERT_FILE to the "
                    "certificates of your network."
                ) from exc
            raise BrokenTransferError(str(exc.reason)) from exc
        except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as exc:
            raise BrokenTransferError(str(exc) or type(exc).__name__) from exc

    def _raise_status(self, exc: urllib.error.HTTPError) -> None:
        if exc.code == http.HTTPStatus.NOT_FOUND:
            raise AbsentError(f"{self.place} does not exist") from exc
        if exc.code in _PASSING_STATUSES or exc.code >= 500:
            raise BrokenTransferError(f"the hub answers {exc.code}") from exc
        if exc.code in {401, 403}:
            raise WeightsError(f"The hub refuses {self.place} ({exc.code}): set HF_TOKEN.") from exc
        raise WeightsError(f"{self.place} can't be read: the hub answers {exc.code}.") from exc
