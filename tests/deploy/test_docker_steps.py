"""The Dockerfile's steps that need no container, run in a clean folder by tools/rehearse_image.py."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from image_requirements import files_of
from rehearse_image import ROOT, Rehearsal, stages_of


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of the target cpu but its dependencies, which are some GB."""
    folder = tmp_path_factory.mktemp("image")
    rehearsal = Rehearsal(folder)
    left_out = []
    for stage in stages_of("cpu"):
        if stage.name != "dependencies-cpu":
            left_out += rehearsal.play(stage)
    assert [command.split()[0] for command in left_out] == ["apt-get"]
    return folder


def test_the_requirements_are_those_of_the_project(image: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    written = {file.name: file.read_text("utf-8") for file in (image / "build/requirements").iterdir()}

    assert written == files_of(project)


def test_one_wheel_has_everything_that_the_package_has(image: Path) -> None:
    (wheel,) = (image / "wheels").iterdir()
    (installed,) = (image / "opt/venv/lib").glob("python3.*/site-packages/streamapp")
    tracked = subprocess.run(
        ["git", "ls-files", "streamapp"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert wheel.name.startswith("streamapp-")
    there = [name for name in tracked if (ROOT / name).exists()]
    assert [name for name in there if not (installed.parent / name).exists()] == []


def test_the_command_starts_with_the_environments_own_python(image: Path) -> None:
    script = image / "opt/venv/bin/streamapp"

    assert script.read_text().splitlines()[0].startswith(f"#!{image}/opt/venv/bin/python")
    run = subprocess.run(
        [script, "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": _installed_here()},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("streamapp, version ")


def _installed_here() -> str:
    """Where this environment has the dependencies that the rehearsed one is without."""
    import click

    return str(Path(click.__file__).parents[1])


def test_every_target_is_made_of_stages_that_are_there() -> None:
    names = {target: [stage.name for stage in stages_of(target)] for target in ("cpu", "cuda", "with-models")}

    assert names["cpu"] == ["requirements", "environment", "dependencies-cpu", "code", "runtime", "cpu"]
    assert names["cuda"] == ["requirements", "environment", "dependencies-cuda", "code", "runtime", "cuda"]
    assert names["with-models"] == [*names["cpu"], "with-models"]
