"""The Dockerfile: linted, and held against the code, the compose file's user and pyproject.toml."""

import importlib.metadata
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from dockerfile import parse
from image_requirements import files_of
from packaging.requirements import Requirement

from streamapp.cli import COMMANDS
from streamapp.settings import load_settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
DOCKERFILE = parse(TEXT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TARGETS = ("cpu", "cuda", "with-models")
HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.mark.parametrize("file", ["Dockerfile", "connect/Dockerfile"])
def test_hadolint_finds_nothing(file: str) -> None:
    run = subprocess.run([HADOLINT, ROOT / file], capture_output=True, text=True, timeout=60)

    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize("file", ["Dockerfile", "connect/Dockerfile"])
def test_whatever_hadolint_is_told_to_ignore_has_its_reason_above_it(file: str) -> None:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if "hadolint ignore" in line:
            assert re.match(r"# \w", lines[number - 1]), f"line {number + 1}"
            assert "hadolint" not in lines[number - 1]


def test_the_targets_run_as_nobody_special_under_tini() -> None:
    for target in TARGETS:
        stages = DOCKERFILE.lineage(target)
        users = [user.text for stage in stages for user in stage.all("USER")]
        entrypoints = [json.loads(one.text) for stage in stages for one in stage.all("ENTRYPOINT")]
        (command,) = (json.loads(one.text) for stage in stages for one in stage.all("CMD"))

        assert users == ["10001:10001"]
        assert entrypoints == [["tini", "--", "streamapp"]]
        assert command[0] in COMMANDS
    (last,) = (stage for stage in DOCKERFILE.stages if not stage.name)
    assert (DOCKERFILE.stages[-1], last.base) == (last, "cpu")
    assert DOCKERFILE.stage("with-models").base == "cpu"


def test_what_the_image_sets_are_settings() -> None:
    environment = DOCKERFILE.environment("cpu")

    settings = load_settings({name: value for name, value in environment.items() if "STREAMAPP" in name})

    assert (str(settings.model_cache), settings.web_host, settings.web_port) == ("/models", "0.0.0.0", 6066)


def test_the_libraries_of_the_image_send_nothing_to_their_makers() -> None:
    environment = DOCKERFILE.environment("cuda")

    assert (environment["ORT_DISABLE_TELEMETRY"], environment["HF_HUB_DISABLE_TELEMETRY"]) == ("1", "1")


class Page(BaseHTTPRequestHandler):
    """Answers /live with the server's status, anything else with 404."""

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/live" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_asks_for_live_and_is_fooled_by_no_proxy(
    page: HTTPServer, status: int | None, exit_code: int
) -> None:
    (check,) = DOCKERFILE.stage("runtime").all("HEALTHCHECK")
    program, *arguments = json.loads(check.text.removeprefix("CMD "))
    page.status = status  # type: ignore[attr-defined]
    port = page.server_port if status is not None else 1
    environment = {"STREAMAPP_WEB_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}

    run = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, timeout=30)

    assert (program, run.returncode) == ("python", exit_code)


def test_a_change_of_the_code_makes_no_dependency_anew() -> None:
    for target in ("cpu", "cuda"):
        stages = DOCKERFILE.lineage(f"dependencies-{target}")
        copies = [copy for stage in stages for copy in stage.all("COPY")]
        # By content: what did not change in these files is taken from the cache.
        assert [copy.flags.get("from") for copy in copies] == ["requirements"]
        assert [Path(word).name for word in copies[0].words[:-1]] == [f"{target}.txt", "bare.txt"]
    (source,) = DOCKERFILE.stage("requirements").all("COPY")
    assert source.words[:-1] == ["pyproject.toml", "tools/image_requirements.py"]
    # The great layer first: the small one is all that a new version of the code has to push.
    for target in ("cpu", "cuda"):
        copies = DOCKERFILE.stage(target).all("COPY")
        assert [copy.flags["from"] for copy in copies] == [f"dependencies-{target}", "code"]


def allowed_into_the_build(path: str) -> bool:
    """What .dockerignore lets through: of the patterns that match a path or a folder above it, the last."""
    is_allowed = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = (
            re.escape(line.lstrip("!").rstrip("/")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        )
        if re.fullmatch(f"{pattern}(?:/.*)?", path):
            is_allowed = line.startswith("!")
    return is_allowed


def test_the_builder_gets_what_is_copied_and_neither_keys_nor_history() -> None:
    copied = [
        word
        for stage in DOCKERFILE.stages
        for copy in stage.all("COPY")
        if "from" not in copy.flags
        for word in copy.words[:-1]
    ]

    assert all((ROOT / source).exists() and allowed_into_the_build(source.rstrip("/")) for source in copied)
    assert allowed_into_the_build("streamapp/local/samples/coffee.jpg")
    refused = [
        ".env",
        ".git/config",
        ".venv/bin/python",
        "secrets/snowflake/snowflake_key.p8",
        "tests/conftest.py",
    ]
    refused += [
        "streamapp/__pycache__/app.cpython-311.pyc",
        "tools/readme.py",
        "connect/postgres.json",
        "build/demo/rows.jsonl",
    ]
    assert [path for path in refused if allowed_into_the_build(path)] == []


def test_an_image_has_every_dependency_of_the_package_and_no_second_list_of_versions() -> None:
    files = {name: set(text.splitlines()) for name, text in files_of(PROJECT).items()}
    extras = PROJECT["optional-dependencies"]
    wanted = {*PROJECT["dependencies"], *extras["tracing"], *extras["warehouse"]}

    assert files["cpu.txt"] | files["bare.txt"] == wanted
    assert not files["cpu.txt"] & files["bare.txt"]
    on_cuda = files["cuda.txt"] | files["bare.txt"]
    assert on_cuda - wanted == {*extras["gpu"], "onnxruntime-gpu[cuda,cudnn]>=1.21"}
    assert wanted - on_cuda == {"onnxruntime>=1.21"}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_what_is_installed_without_dependencies_finds_them_all(target: str) -> None:
    files = files_of(PROJECT)
    installed = {
        Requirement(line).name.replace("onnxruntime-gpu", "onnxruntime")
        for line in files[f"{target}.txt"].splitlines()
    }
    for line in files["bare.txt"].splitlines():
        for needed in importlib.metadata.requires(Requirement(line).name) or []:
            assert Requirement(needed).name in installed


def test_the_versions_that_the_suite_ran_with_are_ones_that_an_image_may_get() -> None:
    for line in (files_of(PROJECT)["cpu.txt"] + files_of(PROJECT)["bare.txt"]).splitlines():
        requirement = Requirement(line)
        if requirement.name != "onnxruntime-gpu":
            assert importlib.metadata.version(requirement.name) in requirement.specifier, line


@pytest.mark.parametrize(
    ("torch", "onnxruntime", "is_built"),
    [("13.2", "13.0", True), ("13.2", "12.8", False), (None, "13.0", False)],
)
def test_no_image_is_built_of_two_majors_of_cuda(
    tmp_path: Path, torch: str | None, onnxruntime: str, is_built: bool
) -> None:
    (check,) = (run for run in DOCKERFILE.stage("dependencies-cuda").all("RUN") if "assert" in run.text)
    modules = {
        "torch/__init__.py": f"class version: cuda = {torch!r}",
        "onnxruntime/__init__.py": "",
        "onnxruntime/capi/__init__.py": "",
        "onnxruntime/capi/build_and_package_info.py": f"cuda_version = {onnxruntime!r}",
    }
    for name, text in modules.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")

    command = check.text.replace("/opt/venv/bin/python", sys.executable)
    run = subprocess.run(
        ["sh", "-c", command], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )

    assert (run.returncode == 0) is is_built, run.stderr
    assert is_built or f"torch is for CUDA {torch}, onnxruntime-gpu for {onnxruntime}" in run.stderr
