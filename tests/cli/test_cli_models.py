"""`streamapp models`: in the process, and as processes that fetch at once or are killed."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner, Result
from model_sources import WAIT_S, Proxy, serving
from moto.server import ThreadedMotoServer

from streamapp.cli import group
from streamapp.errors import WeightsError
from streamapp.models.store import load_lock

CONTENT = os.urandom(3_000_000)
CUT = 2_000_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("AWS_", "STREAMAPP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STREAMAPP_MODEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STREAMAPP_MODELS", "nudenet")


@pytest.fixture(scope="module")
def moto_port() -> Iterator[int]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    with closing(
        boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
    ) as client:
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="v4/prompt_learner/model.pth.tar-50", Body=CONTENT)
    yield port
    server.stop()


@pytest.fixture
def bucket(moto_port: int, tmp_path: Path) -> Iterator[Proxy]:
    """The bucket behind a proxy; the `.env` file has what leads there."""
    proxy = Proxy(moto_port)
    with serving(proxy) as url:
        lines = {**CREDENTIALS, "AWS_ENDPOINT_URL": url, "AiModelBucket": "models"}
        lines["STREAMAPP_MODEL_PREFIX"] = "v4"
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        yield proxy


def models(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["models", *arguments])


def fetching(*names: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "streamapp", "models", "fetch", *names],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def states() -> dict[str, tuple[str, bool]]:
    """Name → state and whether it is needed."""
    return {row["name"]: (row["state"], row["needed"]) for row in json.loads(models("list", "--json").stdout)}


def test_the_list_has_every_artifact_with_state_source_and_licence() -> None:
    result = models("list")
    assert result.exit_code == 0
    for name in load_lock():
        assert name in result.stdout
    assert "Apache-2.0" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert states()["nudenet"] == ("here", True)
    assert states()["coop"] == ("missing", False)


def test_a_fetch_without_names_brings_what_the_models_that_are_on_need() -> None:
    result = models("fetch")
    assert result.exit_code == 0
    assert result.stdout.startswith("nudenet: ")
    assert "coop" not in result.stdout


def test_the_env_file_s_aws_variables_reach_the_bucket(bucket: Proxy, tmp_path: Path) -> None:
    process = fetching("coop")
    out, err = process.communicate(timeout=WAIT_S * 2)
    assert process.returncode == 0, err
    path = tmp_path / "cache" / "coop" / "model.pth.tar-50"
    assert path.read_bytes() == CONTENT
    assert str(path) in out
    assert SHA256 in out
    assert "Fetching coop, 3.0 MB" in err
    assert states()["coop"] == ("here", False)


def test_a_second_fetch_waits_for_the_first_and_finds_the_file(bucket: Proxy) -> None:
    bucket.cuts, bucket.stalls = [CUT], True
    first = fetching("coop")
    assert bucket.has_stalled.wait(WAIT_S)
    second = fetching("coop")
    assert second.stderr is not None
    said = second.stderr.readline()
    bucket.release.set()

    for process in (first, second):
        out, err = process.communicate(timeout=WAIT_S * 2)
        assert (process.returncode, SHA256 in out) == (0, True), err
    assert said.startswith("Another process is fetching to ")
    assert bucket.ranges() == ["bytes=0-", f"bytes={CUT}-"]


def test_a_fetch_that_was_killed_goes_on_where_it_was(bucket: Proxy, tmp_path: Path) -> None:
    bucket.cuts, bucket.stalls = [CUT], True
    process = fetching("coop")
    assert bucket.has_stalled.wait(WAIT_S)
    process.kill()
    process.communicate(timeout=WAIT_S)
    bucket.release.set()

    folder = tmp_path / "cache" / "coop"
    (part,) = folder.iterdir()
    there = part.stat().st_size
    out, err = fetching("coop").communicate(timeout=WAIT_S * 2)
    assert SHA256 in out, err
    assert bucket.ranges()[1:] == [f"bytes={there}-"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.pth.tar-50",
        "model.pth.tar-50.receipt.json",
    ]


def test_a_source_that_lacks_the_file_is_one_line_and_exit_code_1(bucket: Proxy) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "streamapp", "models", "fetch", "clip-vit-b-16"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S * 2,
    )
    assert run.returncode == 1
    assert "s3://models/v4/clip/ViT-B-16.pt does not exist; " in run.stderr
    assert "HF_HUB_OFFLINE" in run.stderr
    assert "Traceback" not in run.stderr


def test_one_that_fails_does_not_keep_the_others_from_being_fetched() -> None:
    result = models("fetch", "coop", "nudenet")
    assert isinstance(result.exception, WeightsError)
    assert "AiModelBucket, which is not set" in str(result.exception)
    assert result.stdout.startswith("nudenet: ")


def test_verify_ends_with_1_where_a_digest_is_another(tmp_path: Path) -> None:
    assert models("verify").exit_code == 0
    path = tmp_path / "cache" / "mfd-palm" / "palm_detection_full.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    result = models("verify")
    assert result.exit_code == 1
    assert "mfd-palm: MediaPipe's palm detector at" in result.stderr
    assert "nudenet: SHA-256" in result.stdout
    assert states()["mfd-palm"] == ("wrong digest", False)


def test_verify_by_name_ends_with_1_where_the_file_is_missing() -> None:
    result = models("verify", "coop")
    assert result.exit_code == 1
    assert "streamapp models fetch coop" in result.stderr


def test_where_prints_the_path_alone_for_one_name(tmp_path: Path) -> None:
    expected = tmp_path / "cache" / "coop" / "model.pth.tar-50"
    assert models("where", "coop").stdout == f"{expected}\n"
    lines = models("where").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(load_lock())


def test_an_own_path_is_where_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMAPP_MFD_PALM_WEIGHTS", "own.tflite")
    assert models("where", "mfd-palm").stdout == f"{tmp_path / 'own.tflite'}\n"


@pytest.mark.parametrize("arguments", [("fetch", "mfd"), ("where", "mfd"), ("verify", "mfd")])
def test_an_unknown_name_is_told_with_the_known_ones(arguments: tuple[str, str]) -> None:
    result = models(*arguments)
    assert result.exit_code == 2
    assert "'mfd' is no artifact; there are nudenet, mfd-palm" in result.stderr


def test_names_and_all_do_not_go_together() -> None:
    assert models("fetch", "--all", "coop").exit_code == 2


def test_the_help_has_examples() -> None:
    assert "streamapp models fetch clip-vit-b-16 coop" in models("--help").stdout
