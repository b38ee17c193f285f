"""docker-compose.yml as Docker Compose itself reads it, where that is installed. That needs no engine."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_file import ROOT, load
from dotenv import dotenv_values

ENV_FILES = ROOT / "tests/data"


def compose(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose on the file of a folder, with nothing of ours in its environment."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ}
    command = ["docker", "compose", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file, from which Compose starts nothing."""
    if shutil.which("docker") is None or compose("version", folder=tmp_path).returncode != 0:
        pytest.skip("Docker Compose is not installed")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def as_text(environment: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in environment.items()}


@pytest.mark.parametrize("env_file", [None, "old-cpu.env", "old-gpu.env"])
def test_compose_reads_the_file_as_the_tests_do(folder: Path, env_file: str | None) -> None:
    variables: dict[str, str] = {}
    if env_file is not None:
        shutil.copy(ENV_FILES / env_file, folder / ".env")
        found = dotenv_values(ENV_FILES / env_file, interpolate=False)
        variables = {name: value or "" for name, value in found.items()}

    done = compose("--profile", "*", "config", "--format", "json", folder=folder)

    assert done.returncode == 0, done.stderr
    services, ours = json.loads(done.stdout)["services"], load(variables)["services"]
    assert set(services) == set(ours)
    for name, service in services.items():
        wanted = (variables if ours[name].get("env_file") else {}) | as_text(
            ours[name].get("environment", {})
        )
        # It writes a dollar sign twice: its output is a file of its own again.
        found = as_text(service.get("environment") or {})
        assert {key: value.replace("$$", "$") for key, value in found.items()} == wanted, name
        for key in ("image", "command", "pull_policy", "read_only", "cap_drop", "security_opt", "tmpfs"):
            assert service.get(key) == ours[name].get(key), f"{name}: {key}"
