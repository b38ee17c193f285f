"""`streamapp doctor`: each check, and that none stops the others."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamapp.cli import doctor_checks, group
from streamapp.cli.doctor import run_checks
from streamapp.cli.doctor_checks import (
    State,
    check_broker,
    check_clock,
    check_disk,
    check_formats,
    check_packages,
    check_python,
    check_weights,
)
from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.settings import LoadedSettings, Settings, load_settings_with_origins

ALL_CHECKS = [
    "python",
    "packages",
    "settings",
    "broker",
    "topics",
    "weights",
    "gpu",
    "disk",
    "clock",
    "formats",
]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def nobody() -> str:
    """An address where nothing listens."""
    return f"127.0.0.1:{free_port()}"


def run(**env: str) -> tuple[int, dict[str, str], str]:
    """The exit code, check → state, and the output."""
    result = CliRunner().invoke(group, ["doctor"], env={"STREAMAPP_MODELS": "nudenet", **env})
    words = [line.split() for line in result.stdout.splitlines()]
    states = {row[0]: row[1] for row in words if len(row) > 1 and row[0] in ALL_CHECKS}
    return result.exit_code, states, result.stdout


# The command


def test_a_broker_that_is_away_fails_and_every_other_check_still_runs() -> None:
    exit_code, states, output = run(STREAMAPP_BROKERS=nobody())
    assert exit_code == 1
    assert list(states) == ALL_CHECKS
    assert (states["broker"], states["topics"]) == ("fail", "skipped")
    assert states["weights"] == "ok"
    assert "streamapp broker" in output


def test_the_table_fits_100_columns() -> None:
    *_, output = run(STREAMAPP_BROKERS=nobody())
    assert max(map(len, output.splitlines())) <= 100


def test_bad_settings_fail_and_what_needs_none_still_runs() -> None:
    exit_code, states, output = run(STREAMAPP_WEB_PROT="1", STREAMAPP_GROUP="")
    assert exit_code == 1
    assert states["settings"] == "fail"
    assert "STREAMAPP_WEB_PROT" in output
    assert {states["broker"], states["topics"], states["weights"]} == {"skipped"}
    assert states["formats"] == "ok"


def test_missing_topics_fail_with_the_command_that_creates_them(broker: EmbeddedBroker) -> None:
    exit_code, states, output = run(STREAMAPP_BROKERS=broker.bootstrap_servers)
    assert exit_code == 1
    assert (states["broker"], states["topics"]) == ("ok", "fail")
    assert "streamapp topics" in output


async def test_a_check_that_breaks_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("odd machine")

    monkeypatch.setattr("streamapp.cli.doctor.check_gpu", broken)

    def load() -> LoadedSettings:
        return load_settings_with_origins({"STREAMAPP_WEB_PROT": "1"})

    checks = {check.name: check for check in run_checks(load)}
    assert checks["gpu"].state is State.FAIL
    assert "odd machine" in checks["gpu"].detail
    assert list(checks) == ALL_CHECKS


# The checks


def test_an_old_python_fails() -> None:
    assert check_python((3, 10, 9)).state is State.FAIL
    assert check_python().state is State.OK


def test_our_own_packages_can_be_imported() -> None:
    assert check_packages().state is State.OK


def test_a_package_that_is_missing_fails_by_name() -> None:
    check = check_packages(["click>=8.1", "no-such-package==1"])
    assert check.state is State.FAIL
    assert check.detail.startswith("no-such-package: ")


def test_extras_are_not_needed() -> None:
    assert check_packages(['no-such-package; extra == "dev"']).state is State.OK


def test_topics_that_exist_are_told_with_their_partitions(broker: EmbeddedBroker) -> None:
    import asyncio

    from streamapp.topics import ensure_topics

    settings = Settings(
        brokers=broker.bootstrap_servers,
        events_topic="doctor-events",
        results_topic="doctor-results",
        dead_letter_topic="doctor-dead",
        topic_partitions=3,
    )
    asyncio.run(ensure_topics(settings))
    answers, topics = check_broker(settings)
    assert (answers.state, topics.state) == (State.OK, State.OK)
    assert "doctor-events: 3" in topics.detail


def test_looking_at_topics_creates_none(broker: EmbeddedBroker) -> None:
    settings = Settings(brokers=broker.bootstrap_servers, events_topic="never-created")
    for _ in range(2):
        assert "never-created: missing" in check_broker(settings)[1].detail


def test_a_ca_file_that_is_missing_is_a_failed_broker_check() -> None:
    check, topics = check_broker(
        Settings(brokers=nobody(), security_protocol="SSL", ssl_ca_file=Path("gone.pem"))
    )
    assert check.state is State.FAIL
    assert "gone.pem" in check.detail
    assert "Start Kafka" not in check.remedy
    assert topics.state is State.SKIPPED


def test_weights_that_are_missing_fail_by_path() -> None:
    assert check_weights(Settings(models=("nudenet",))).state is State.OK
    check = check_weights(Settings(models=("nudenet",), nudenet_weights=Path("gone.onnx")))
    assert check.state is State.FAIL
    assert "gone.onnx" in check.detail


def test_weights_that_are_missing_do_not_hide_each_other(tmp_path: Path) -> None:
    check = check_weights(
        Settings(models=("mfd", "nudenet"), model_cache=tmp_path, nudenet_weights=Path("gone.onnx"))
    )
    assert check.state is State.FAIL
    assert "streamapp models fetch" in check.detail
    assert "gone.onnx" in check.detail


@pytest.mark.parametrize(
    ("models", "named"), [(("clip",), "CLIP_MODEL"), (("coop",), "COOP_MODEL"), (("clip", "coop"), "and")]
)
def test_the_tiny_clip_warns_that_it_knows_no_photos(
    models: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    check = check_weights(Settings(models=models, clip_model="tiny", coop_model="Tiny", model_cache=tmp_path))
    assert check.state is State.WARN
    assert "knows emoji, not photos: for demos and tests only" in check.detail
    assert named in check.remedy


def test_the_tiny_clip_of_a_model_that_is_off_is_no_matter() -> None:
    check = check_weights(Settings(models=("nudenet",), clip_model="tiny", coop_model="tiny"))
    assert check.state is State.OK


def test_little_free_space_warns_also_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    folders = {"model cache": tmp_path / "not" / "there" / "yet"}
    assert check_disk(folders, min_free_bytes=1).state is State.OK
    assert check_disk(folders, min_free_bytes=2**62).state is State.WARN


@pytest.mark.parametrize(("kernel", "state"), [(0, State.OK), (5, State.WARN), (None, State.WARN)])
def test_the_clock_is_as_the_kernel_says(
    kernel: int | None, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks, "_adjtimex", lambda: kernel)
    assert check_clock().state is state


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux's")
def test_the_kernel_is_asked_without_changing_the_clock() -> None:
    assert doctor_checks._adjtimex() in {None, 0, 1, 2, 3, 4, 5}


def test_pillow_decodes_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_formats().state is State.OK
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    check = check_formats()
    assert check.state is State.FAIL
    assert "avif" in check.detail
