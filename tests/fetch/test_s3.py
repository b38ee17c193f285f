"""s3:// URLs to presigned ones: what is refused, what is signed, and whose credentials sign it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import boto3
import pytest
from aiohttp import web
from model_sources import Proxy, Source, serving
from yarl import URL

from streamapp.errors import FetchError
from streamapp.fetch import s3
from streamapp.fetch.s3 import S3Object, S3Presigner, read_object_url
from streamapp.reasons import Reason
from streamapp.settings import Settings

CONTENT = b"the picture's bytes"


@contextmanager
def presigner(*buckets: str, **arguments: Any) -> Iterator[S3Presigner]:
    with closing(S3Presigner(Settings(s3_buckets=buckets, fetch_deadline_s=29.5), **arguments)) as opened:
        yield opened


async def refusal(signer: S3Presigner, url: str) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await signer.presigned(URL(url))
    assert caught.value.attempts == 0
    return caught.value


# What a URL says


@pytest.mark.parametrize(
    ("url", "bucket", "key", "version_id"),
    [
        ("s3://pictures/a.png", "pictures", "a.png", None),
        ("s3://pictures/a b+c%/ü.png", "pictures", "a b+c%/ü.png", None),
        ("s3://pictures/a%20b+c%25/%C3%BC.png", "pictures", "a b+c%/ü.png", None),
        ("s3://pictures/a%23b%3Fc%2Fd", "pictures", "a#b?c/d", None),
        ("s3://pictures//a//b/", "pictures", "/a//b/", None),
        ("s3://my.old_bucket/a...b/.c", "my.old_bucket", "a...b/.c", None),
        ("S3://Pictures/A", "pictures", "A", None),
        ("s3://pictures/a?versionId=x%2By", "pictures", "a", "x+y"),
        ("s3://pictures/a?versionId=", "pictures", "a", None),
        ("s3://pictures/" + "k" * 1024, "pictures", "k" * 1024, None),
    ],
)
def test_a_url_names_a_bucket_a_key_and_perhaps_a_version(
    url: str, bucket: str, key: str, version_id: str | None
) -> None:
    assert read_object_url(URL(url)) == S3Object(bucket, key, version_id)


@pytest.mark.parametrize(
    "url",
    [
        "s3://pictures",
        "s3://pictures/",
        "s3:///a.png",
        "s3:pictures/a.png",
        "s3://pictures:443/a.png",
        "s3://pictures/a#b.png",
        "s3://pictures/a?b.png",
        "s3://pictures/a?versionId=1&versionId=2",
        "s3://pictures/a?versionId=1&response-content-type=text/html",
        "s3://pictures/%FF.png",
        "s3://pictures/a%00b",
        "s3://pictures/a%0D%0AHost:x",
        "s3://pictures/..%2Fsecrets/a",
        "s3://pictures/a%2F.%2Fb",
        "s3://pictures/" + "k" * 1025,
        "s3://pictures/" + "ü" * 513,
    ],
)
def test_a_url_that_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        read_object_url(URL(url))
    assert caught.value.reason is Reason.URL_INVALID


def test_credentials_in_a_url_are_refused() -> None:
    with pytest.raises(FetchError) as caught:
        read_object_url(URL("s3://key:secret@pictures/a.png"))
    assert caught.value.reason is Reason.URL_CREDENTIALS
    assert "secret" not in str(caught.value)


async def test_without_a_list_of_buckets_no_bucket_is_read(aws: None) -> None:
    with presigner() as signer:
        error = await refusal(signer, "s3://pictures/a.png")
    assert (error.reason, error.is_retriable) == (Reason.URL_SCHEME, False)
    assert "s3_buckets" in str(error)


@pytest.mark.parametrize("bucket", ["secrets", "pictures.evil", "xpictures", "*", "192.168.0.1", "picturés"])
async def test_a_bucket_that_is_not_on_the_list_is_refused(aws: None, bucket: str) -> None:
    with presigner("pictures", "more") as signer:
        error = await refusal(signer, f"s3://{bucket}/a.png")
    assert (error.reason, error.is_retriable) == (Reason.HOST_NOT_ALLOWED, False)


# What is signed


@pytest.mark.parametrize(
    "key", ["a.png", "a b+c%/ü.png", "q?x=1&y#z", "/a//b", "~*'()!$,;:@=", "%41", "日本/🙂"]
)
async def test_the_presigned_url_has_the_object_s_bytes(
    aws: None, moto_port: int, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with closing(boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}")) as client:
        client.create_bucket(Bucket="pictures")
        client.put_object(Bucket="pictures", Key=key, Body=CONTENT)
    proxy = Proxy(moto_port)
    with serving(proxy) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with presigner("pictures") as signer:
            signed = await signer.presigned(URL.build(scheme="s3", host="pictures", path=f"/{key}"))
        async with aiohttp.ClientSession() as session, session.get(signed) as response:
            assert (response.status, await response.read()) == (200, CONTENT)
    # Moto does not check signatures; S3 does, over each byte of what is sent.
    assert endpoint + proxy.requests[-1][1] == str(signed)
    assert proxy.requests[-1][1].partition("?")[0] == "/pictures/" + quote(key, safe="/~")


async def test_a_signature_is_of_version_4_and_outlives_the_fetch_by_a_minute(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    with presigner("pictures") as signer:
        signed = await signer.presigned(URL("s3://pictures/a.png?versionId=v1"))
    assert signed.query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert signed.query["X-Amz-Expires"] == "90"
    assert signed.query["X-Amz-Security-Token"] == "token"
    assert signed.query["versionId"] == "v1"


@pytest.mark.parametrize(
    ("bucket", "variables", "host"),
    [
        ("pictures", {"AWS_DEFAULT_REGION": "eu-west-1"}, "pictures.s3.eu-west-1.amazonaws.com"),
        ("my.pictures", {"AWS_DEFAULT_REGION": "eu-west-1"}, "s3.eu-west-1.amazonaws.com"),
        ("pictures", {"AWS_DEFAULT_REGION": "cn-north-1"}, "pictures.s3.cn-north-1.amazonaws.com.cn"),
        (
            "pictures",
            {"AWS_DEFAULT_REGION": "ca-central-1", "AWS_USE_FIPS_ENDPOINT": "true"},
            "pictures.s3-fips.ca-central-1.amazonaws.com",
        ),
        ("pictures", {"AWS_ENDPOINT_URL": "http://minio.example:9000"}, "minio.example"),
        ("pictures", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}, "127.0.0.1"),
    ],
)
async def test_the_host_is_the_region_s_own_or_the_endpoint_s(
    aws: None, monkeypatch: pytest.MonkeyPatch, bucket: str, variables: dict[str, str], host: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with presigner(bucket) as signer:
        signed = await signer.presigned(URL(f"s3://{bucket}/a.png"))
    assert signed.host == host
    assert (bucket in signed.path) is not host.startswith(bucket)


# Credentials


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "AWS_DEFAULT_REGION"),
        ({"AWS_DEFAULT_REGION": "no region"}, "AWS_DEFAULT_REGION"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "AWS_ENDPOINT_URL"),
        ({"AWS_PROFILE": "gone"}, "AWS_PROFILE"),
    ],
)
async def test_what_boto3_lacks_is_said_and_not_tried_again(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], advice: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with presigner("pictures") as signer:
        error = await refusal(signer, "s3://pictures/a.png")
    assert (error.reason, error.is_retriable) == (Reason.REFUSED, False)
    assert str(error).startswith("s3://pictures/a.png can't be read: ")
    assert advice in str(error).partition("; ")[2]


async def test_credentials_that_were_missing_are_looked_for_again_after_a_while(
    no_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with presigner("pictures", clock=lambda: now_s) as signer:
        await refusal(signer, "s3://pictures/a.png")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "late")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        now_s += 9
        await refusal(signer, "s3://pictures/a.png")
        now_s += 2
        signed = await signer.presigned(URL("s3://pictures/a.png"))
    assert signed.query["X-Amz-Credential"].startswith("late/")


async def test_a_source_of_credentials_that_fails_can_be_tried_again(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    with presigner("pictures") as signer:
        error = await refusal(signer, "s3://pictures/a.png")
    assert (error.reason, error.is_retriable) == (Reason.REFUSED, True)


class Role(Source):
    """A metadata server whose every answer has other credentials, already about to expire."""

    def respond(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The next credentials."""
        body = web.json_response(
            {
                "AccessKeyId": f"key{len(self.requests)}",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
            }
        ).body
        assert isinstance(body, bytes)
        return 200, {"Content-Length": str(len(body))}, body


@pytest.fixture
def role(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    source = Role()
    with serving(source) as url:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/role")
        yield source


async def test_a_role_s_credentials_are_renewed_before_they_expire(role: Role) -> None:
    with presigner("pictures") as signer:
        assert not role.requests
        first = await signer.presigned(URL("s3://pictures/a.png"))
        second = await signer.presigned(URL("s3://pictures/a.png"))
    keys = [signed.query["X-Amz-Credential"].partition("/")[0] for signed in (first, second)]
    assert keys[0] != keys[1]


async def test_credentials_that_do_not_come_end_in_a_timeout_and_hold_one_thread_and_no_queue(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "SIGN_TIMEOUT_S", 0.05)
    role.cuts, role.stalls = [0] * 9, True
    with presigner("pictures") as signer:
        errors = await asyncio.gather(*(refusal(signer, f"s3://pictures/{i}.png") for i in range(5)))
        queued = signer._thread._work_queue.qsize()
        threads = [t for t in threading.enumerate() if t.name.startswith("s3-presign")]
        role.release.set()
    assert {(error.reason, error.is_retriable) for error in errors} == {(Reason.TIMEOUT, True)}
    assert len(threads) == 1
    assert queued == 0
