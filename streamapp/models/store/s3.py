"""The S3 bucket with the models. Region, endpoint and credentials are boto3's own: the AWS_… variables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)

from streamapp.errors import WeightsError
from streamapp.models.store.transfer import (
    CHUNK_BYTES,
    AbsentError,
    BrokenTransferError,
    ChangedError,
    RemoteFile,
    Stream,
)

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30

_MISSING = {"404", "NoSuchKey", "NotFound"}
_CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}
_PASSING = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestTimeTooSkewed"}
_REFUSED = {"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


class BucketFile:
    """One object of a bucket, read with ranges that hold for the version that was looked at (If-Match)."""

    def __init__(self, bucket: str, key: str) -> None:
        self.place = f"s3://{bucket}/{key}"
        self._bucket = bucket
        self._key = key
        self._client: Any = None

    def look(self) -> RemoteFile:
        """Ask for size and ETag.

        Raises:
            AbsentError: the bucket has no such object.
            WeightsError: there is no such bucket, or S3 refuses.
        """
        with self.translated():
            try:
                head = self._s3.head_object(Bucket=self._bucket, Key=self._key)
            except ClientError as exc:
                # A HEAD has no body, so that a missing bucket looks like a missing object.
                if _code(exc) in _MISSING:
                    self._require_bucket()
                raise
            return RemoteFile(size=head["ContentLength"], version=head["ETag"])

    @contextmanager
    def open(self, offset: int, version: str) -> Iterator[Stream]:
        """Read from an offset on, if the object still has that ETag."""
        with self.translated():
            answer = self._s3.get_object(
                Bucket=self._bucket, Key=self._key, Range=f"bytes={offset}-", IfMatch=version
            )
            body = answer["Body"]
            start = offset if "ContentRange" in answer else 0
            try:
                yield Stream(start, body.iter_chunks(CHUNK_BYTES))
            finally:
                body.close()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    @property
    def _s3(self) -> Any:
        if self._client is None:
            config = Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            self._client = boto3.session.Session().client("s3", config=config)
        return self._client

    def _require_bucket(self) -> None:
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError as exc:
            if _code(exc) in {*_MISSING, "NoSuchBucket"}:
                raise WeightsError(f"There is no S3 bucket {self._bucket}: mend AiModelBucket.") from exc

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn boto3's errors into those of a `Remote`."""
        try:
            yield
        except ClientError as exc:
            self._raise_answer(exc)
        except (NoCredentialsError, PartialCredentialsError) as exc:
            raise WeightsError(
                f"{self.place} can't be read without credentials ({exc}): set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment or in .env, or give this machine a role."
            ) from exc
        except SSLError as exc:
            raise WeightsError(
                f"{self.place} can't be read safely ({exc}): set AWS_CA_BUNDLE to the certificates of your "
                "network."
            ) from exc
        except (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError) as exc:
            raise BrokenTransferError(str(exc)) from exc
        except BotoCoreError as exc:
            raise WeightsError(f"{self.place} can't be read: {exc}.") from exc

    def _raise_answer(self, exc: ClientError) -> NoReturn:
        """Say what an answer of S3 that is no success means."""
        code = _code(exc)
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _MISSING:
            raise AbsentError(f"{self.place} does not exist") from exc
        if code in _CHANGED:
            raise ChangedError(f"{self.place} has changed meanwhile") from exc
        if code in _PASSING or status >= 500:
            raise BrokenTransferError(str(exc)) from exc
        if code in _REFUSED:
            raise WeightsError(
                f"S3 refuses {self.place} ({code}): let these credentials s3:GetObject it and s3:ListBucket "
                "its bucket; without the second a missing object is refused as well."
            ) from exc
        raise WeightsError(f"{self.place} can't be read: {exc}.") from exc


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))
