"""s3:// URLs through the downloader, against moto's server: the limits and the guard are those of any URL."""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from model_sources import Files, Proxy, Redirects, serving

from streamapp.errors import FetchError
from streamapp.fetch.downloader import Download, Downloader
from streamapp.fetch.steps import Step
from streamapp.reasons import Reason
from streamapp.settings import Settings

CONTENT = b"the picture's bytes"
ODD_KEY = "a b+c%/ü.png"
URL = f"s3://pictures/{ODD_KEY}"
SECRETS = ("Signature", "X-Amz", "AKIDTEST")


@pytest.fixture
def endpoint(moto_port: int, aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy before moto's server, to which AWS_ENDPOINT_URL leads; two buckets with one object each."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    with closing(boto3.client("s3", endpoint_url=f"http://127.0.0.1:{moto_port}")) as client:
        for bucket in ("pictures", "secrets"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key=ODD_KEY, Body=CONTENT)
    proxy = Proxy(moto_port)
    with serving(proxy) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield proxy


def settings(**values: Any) -> Settings:
    defaults = {
        "s3_buckets": ("pictures",),
        "allow_private_hosts": ("127.0.0.1",),
        "download_attempts": 2,
        "retry_base_s": 0.0,
    }
    return Settings.model_validate(defaults | values)


async def fetch(url: str, steps: list[Step] | None = None, **values: Any) -> Download:
    async with Downloader(settings(**values)) as downloader:
        return await downloader.fetch(url, observe=None if steps is None else steps.append)


async def refusal(url: str, **values: Any) -> FetchError:
    """The error, after a look at all that could show the signature."""
    steps: list[Step] = []
    with pytest.raises(FetchError) as caught:
        await fetch(url, steps, **values)
    shown = [str(caught.value), *(step.message for step in steps)]
    assert not [text for text in shown for secret in SECRETS if secret in text]
    return caught.value


async def test_an_object_comes_as_any_file_does_and_its_signature_is_never_shown(
    endpoint: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[Step] = []
    with caplog.at_level(logging.DEBUG, "streamapp"):
        download = await fetch(URL, steps)
    assert (download.content, download.attempts) == (CONTENT, 1)
    assert download.url.startswith("s3://pictures/")
    # Moto's own log is the server's.
    logged = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    shown = [download.url, *logged, *(step.message for step in steps)]
    assert steps
    assert not [text for text in shown for secret in SECRETS if secret in text]


async def test_the_host_of_the_buckets_is_no_stranger_and_is_waited_for(endpoint: Proxy) -> None:
    async with Downloader(settings(patient_hosts=("cdn.example",))) as downloader:
        assert not downloader._limits.is_known("127.0.0.1")
        await downloader.fetch(URL)
        assert downloader._limits.is_known("127.0.0.1")
        assert downloader._limits.is_patient("127.0.0.1")


async def test_an_object_that_is_not_there_is_not_found(endpoint: Proxy) -> None:
    error = await refusal("s3://pictures/nowhere.png")
    assert (error.reason, error.attempts) == (Reason.NOT_FOUND, 1)


async def test_a_bucket_that_is_not_listed_is_not_asked(endpoint: Proxy) -> None:
    error = await refusal(f"s3://secrets/{ODD_KEY}")
    assert (error.reason, error.attempts) == (Reason.HOST_NOT_ALLOWED, 0)
    assert endpoint.requests == []


async def test_without_buckets_s3_is_no_scheme_that_is_fetched(endpoint: Proxy) -> None:
    error = await refusal(URL, s3_buckets=())
    assert (error.reason, error.attempts) == (Reason.URL_SCHEME, 0)
    assert endpoint.requests == []


async def test_a_version_is_read_by_its_id(endpoint: Proxy) -> None:
    with closing(boto3.client("s3", endpoint_url=f"http://127.0.0.1:{endpoint.port}")) as client:
        client.put_bucket_versioning(Bucket="pictures", VersioningConfiguration={"Status": "Enabled"})
        old, new = (client.put_object(Bucket="pictures", Key="v.png", Body=body) for body in (b"old", b"new"))
    for version, content in ((old, b"old"), (new, b"new")):
        assert (await fetch(f"s3://pictures/v.png?versionId={version['VersionId']}")).content == content
    assert (await fetch("s3://pictures/v.png")).content == b"new"


async def test_an_object_is_bound_like_a_download(endpoint: Proxy) -> None:
    assert (await fetch(URL, max_download_bytes=len(CONTENT))).content == CONTENT
    error = await refusal(URL, max_download_bytes=len(CONTENT) - 1)
    assert error.reason is Reason.TOO_LARGE


async def test_a_transfer_that_breaks_is_tried_again_with_a_fresh_signature(endpoint: Proxy) -> None:
    endpoint.cuts = [4]
    assert (await fetch(URL)).attempts == 2
    endpoint.cuts = [4, 4]
    assert (await refusal(URL)).attempts == 2


async def test_missing_credentials_are_the_error_of_the_event(
    endpoint: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = await refusal(URL)
    assert (error.reason, error.attempts, error.is_retriable) == (Reason.REFUSED, 0, False)
    assert endpoint.requests == []


async def test_a_private_endpoint_must_be_allowed_like_any_private_host(endpoint: Proxy) -> None:
    error = await refusal(URL, allow_private_hosts=())
    assert error.reason in (Reason.ADDRESS_BLOCKED, Reason.URL_PORT)
    assert endpoint.requests == []


async def test_the_list_of_allowed_hosts_is_not_asked_about_buckets(endpoint: Proxy) -> None:
    assert (await fetch(URL, allowed_hosts=("cdn.example.com",))).content == CONTENT


async def test_an_endpoint_that_redirects_is_not_followed(
    endpoint: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Files({})
    with serving(elsewhere) as target, serving(Redirects(target)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        error = await refusal(URL)
    assert error.reason is Reason.TOO_MANY_REDIRECTS
    assert elsewhere.requests == []


async def test_a_stranger_s_redirect_to_a_bucket_is_refused(endpoint: Proxy) -> None:
    with serving(Redirects("s3://pictures")) as url:
        error = await refusal(f"{url}/a.png")
    assert error.reason is Reason.URL_SCHEME
    assert endpoint.requests == []
