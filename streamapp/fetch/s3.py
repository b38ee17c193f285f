"""Objects of S3 by URL: ``s3://bucket/key`` becomes a presigned URL, which is then fetched like any other.

So an object passes the same limits, retries and guard as a stranger's file, and there is one HTTP client.
To sign is a computation on this machine; aiobotocore, which would send the request as well, pins botocore
to a narrow range and would take boto3 back. Region, endpoint and credentials are boto3's own: the AWS_…
variables, its files, the machine's role.

Whoever has a presigned URL can read the object: it must not be shown or logged.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from yarl import URL

from streamapp.errors import FetchError
from streamapp.reasons import Reason
from streamapp.settings import Settings

SIGN_TIMEOUT_S = 10.0
"""For one signature; boto3 may have to ask for credentials first."""

_EXPIRES_LATER_S = 60  # than the fetch can take: clocks differ
_LONGEST_EXPIRY_S = 7 * 24 * 3600  # of signature version 4
_LOOK_AGAIN_S = 10.0  # after credentials or a region were missing
_MAX_KEY_BYTES = 1024  # S3's own bound
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object of a bucket, or one version of it; printed as ``s3://bucket/key``."""

    bucket: str
    key: str
    version_id: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def read_object_url(url: URL) -> S3Object:
    """Read ``s3://bucket/key`` or ``s3://bucket/key?versionId=…``.

    It is read as a URL: ``%20`` in the path is a space, and a space may also stand there as it is. A key with
    a ``#``, a ``?`` or a ``%`` before two hex digits must be written with ``%23``, ``%3F``, ``%25``.

    Raises:
        FetchError: url_invalid or url_credentials; ``attempts`` is 0.
    """
    shown = f"{str(url)!r:.80}"
    if url.raw_user is not None or url.raw_password is not None:
        raise _refusal(Reason.URL_CREDENTIALS, "The URL carries a user name or a password.")
    if not url.raw_host or url.explicit_port is not None:
        raise _refusal(Reason.URL_INVALID, f"{shown} does not name a bucket as s3://bucket/key.")
    if url.raw_fragment:
        raise _refusal(Reason.URL_INVALID, f"{shown} has a '#'; write %23 where the key has one.")
    if set(url.query) - {"versionId"} or len(url.query.getall("versionId", [])) > 1:
        raise _refusal(
            Reason.URL_INVALID,
            f"{shown} has a query; only one versionId may be there. A '?' of the key is %3F.",
        )
    return S3Object(url.raw_host, _key(url, shown), url.query.get("versionId") or None)


def _key(url: URL, shown: str) -> str:
    try:
        key = unquote(url.raw_path.removeprefix("/"), errors="strict")
    except UnicodeDecodeError as exc:
        raise _refusal(Reason.URL_INVALID, f"The key in {shown} is not UTF-8.") from exc
    if not key or len(key.encode()) > _MAX_KEY_BYTES or _CONTROL_CHARACTER.search(key):
        raise _refusal(
            Reason.URL_INVALID, f"The key in {shown} is not 1 to {_MAX_KEY_BYTES} bytes of printable UTF-8."
        )
    # In the URL of a server that folds such parts away, they would lead out of the bucket.
    if {".", ".."} & set(key.split("/")):
        raise _refusal(Reason.URL_INVALID, f"The key in {shown} has a part that is '.' or '..'.")
    return key


class S3Presigner:
    """Turns ``s3://`` URLs into presigned ones, for the buckets that the settings name.

    One thread owns boto3's client: it blocks while it asks for credentials, when first needed and when
    those of a role are due, and one that hangs must not take all threads of the process with it.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare; boto3 is not imported before the first signature.

        Args:
            settings: ``s3_buckets`` and ``fetch_deadline_s`` of them.
            clock: seconds, monotonic.
        """
        self._buckets = frozenset(settings.s3_buckets)
        self._expires_s = min(math.ceil(settings.fetch_deadline_s) + _EXPIRES_LATER_S, _LONGEST_EXPIRY_S)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="s3-presign")
        # Held until the thread is done, also where nobody waits for it any more: its queue has no bound.
        self._turn = asyncio.Lock()
        # Owned by the thread.
        self._client: Any = None
        self._refusal = ""
        self._refused_until_s = -math.inf

    async def presigned(self, url: URL) -> URL:
        """The URL, good for the length of a fetch, under which the object can be had.

        Raises:
            FetchError: url_scheme where no bucket may be read, host_not_allowed where this one may not,
                url_invalid, url_credentials; refused where boto3 can't sign, which can be tried again where
                it is for the credentials' source; timeout. ``attempts`` is 0.
        """
        if not self._buckets:
            raise _refusal(Reason.URL_SCHEME, "No s3:// URL is fetched: the setting s3_buckets is empty.")
        wanted = read_object_url(url)
        # The worker's credentials may reach more than strangers are to have.
        if wanted.bucket not in self._buckets:
            raise _refusal(Reason.HOST_NOT_ALLOWED, f"The bucket {wanted.bucket!r:.80} is not in s3_buckets.")
        try:
            async with asyncio.timeout(SIGN_TIMEOUT_S):
                await self._turn.acquire()
                signing = asyncio.get_running_loop().run_in_executor(self._thread, self._sign, wanted)
                signing.add_done_callback(lambda _: self._turn.release())
                return await asyncio.shield(signing)
        except TimeoutError as exc:
            message = f"The AWS credentials for {wanted} did not come within {SIGN_TIMEOUT_S:g} s."
            raise FetchError(Reason.TIMEOUT, message, attempts=0, is_retriable=True) from exc

    def close(self) -> None:
        """Let go of the thread; one that still waits for credentials ends with their answer."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _sign(self, wanted: S3Object) -> URL:
        """Sign, on the thread; boto3's errors become ours."""
        if self._clock() < self._refused_until_s:
            raise _refusal(Reason.REFUSED, f"{wanted} can't be read: {self._refusal}")
        parameters = {"Bucket": wanted.bucket, "Key": wanted.key}
        if wanted.version_id is not None:
            parameters["VersionId"] = wanted.version_id
        try:
            if self._client is None:
                self._client = _new_client()
            signed = self._client.generate_presigned_url(
                "get_object", Params=parameters, ExpiresIn=self._expires_s
            )
        except Exception as exc:
            # No closed set: sources of credentials read files, run programs and ask servers.
            raise self._translated(exc, wanted) from exc
        # As it is: requoted, it would no longer be what was signed.
        return URL(signed, encoded=True)

    def _translated(self, error: Exception, wanted: S3Object) -> FetchError:
        advice = _advice(error)
        if not advice:
            # What asks for credentials failed; it may be back a moment later.
            message = (
                f"{wanted} can't be read, the credentials did not come: {type(error).__name__}: {error}"[:300]
            )
            return FetchError(Reason.REFUSED, message, attempts=0, is_retriable=True)
        # Looked for anew later on, not for each event: a search through all sources takes seconds.
        self._client = None
        self._refusal = f"{error}".rstrip(".")[:200] + f"; {advice}"
        self._refused_until_s = self._clock() + _LOOK_AGAIN_S
        return _refusal(Reason.REFUSED, f"{wanted} can't be read: {self._refusal}")


def _new_client() -> Any:
    # Imported here: a share of start and memory that only those who read from S3 should pay.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    session = boto3.session.Session()
    client = session.client("s3", config=Config(signature_version="s3v4"))
    if client.meta.endpoint_url == "https://s3.amazonaws.com" and session.region_name is None:
        # A signature for no region in particular holds in us-east-1 alone.
        raise NoRegionError
    aws_endpoints = [f"https://{name}.{session.region_name}.amazonaws.com" for name in ("s3", "s3-fips")]
    if client.meta.endpoint_url in aws_endpoints:
        # Otherwise boto3 signs for the host of us-east-1, which only redirects elsewhere. Not at other
        # endpoints: most of them know the bucket by the path alone.
        config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
        return session.client("s3", config=config)
    return client


def _advice(error: Exception) -> str:
    """What to set; empty where the error is not for a setting."""
    from botocore.exceptions import (
        InvalidRegionError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment or in .env, or give this "
            "machine a role."
        )
    if isinstance(error, NoRegionError | InvalidRegionError):
        return "set AWS_DEFAULT_REGION to the bucket's region."
    if isinstance(error, ProfileNotFound):
        return "mend AWS_PROFILE."
    if isinstance(error, ParamValidationError):
        return "mend the setting s3_buckets."
    if type(error) is ValueError:  # Not its subclasses, such as bad JSON from a source of credentials.
        return "mend AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL."
    return ""


def _refusal(reason: Reason, message: str) -> FetchError:
    return FetchError(reason, message, attempts=0)
