"""Runs the steps of the Dockerfile that need no container, in a folder, by the commands as they stand there.

    python tools/rehearse_image.py build/image                  the target cpu, torch included: minutes, 6 GB
    python tools/rehearse_image.py build/image --stages requirements,environment,code
    build/image/opt/venv/bin/streamapp doctor

Absolute paths that the build writes to are put under the folder. All stages share it, which our Dockerfile
allows: no two of them write the same path. Steps that need root or Debian's packages are named and left out.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dockerfile import Instruction, Stage, parse

ROOT = Path(__file__).parents[1]
# Where the build writes, and the rehearsal too, under its folder.
WRITTEN = ("/build", "/opt/venv", "/wheels", "/code")
NEEDS_A_CONTAINER = ("apt-get", "useradd", "streamapp models fetch")


class Rehearsal:
    """Goes through stages, instruction by instruction; a command that fails ends it.

    Args:
        folder: stands for the image's root folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._workdir = self._folder
        self._environment: dict[str, str] = {}

    def play(self, stage: Stage) -> list[str]:
        """Play a stage; returns the commands that were left out.

        Raises:
            CalledProcessError: a command failed.
        """
        left_out = []
        for instruction in stage.instructions:
            if instruction.word == "WORKDIR":
                self._workdir = self._folder / instruction.text.lstrip("/")
                self._workdir.mkdir(parents=True, exist_ok=True)
            elif instruction.word == "COPY":
                self._copy(instruction)
            elif instruction.word == "ARG":
                self._environment |= dict(word.split("=", 1) for word in instruction.words)
            elif instruction.word == "RUN" and any(word in instruction.text for word in NEEDS_A_CONTAINER):
                left_out.append(instruction.text)
            elif instruction.word == "RUN":
                self._run(instruction.text)
        return left_out

    def inside(self, command: str) -> str:
        """The command with the image's paths under the folder, and this Python for the image's own."""
        paths = "|".join(map(re.escape, WRITTEN))
        moved = re.sub(rf"(?<![\w./-])(?=(?:{paths})\b)", f"{self._folder}", command)
        return re.sub(r"^python(?= )", sys.executable, moved)

    def _run(self, command: str) -> None:
        environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | self._environment
        subprocess.run(
            ["sh", "-euc", self.inside(command)], cwd=self._workdir, env=environment, check=True, timeout=3600
        )

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        root = self._folder if "from" in instruction.flags else ROOT
        is_folder = target.endswith("/") or len(sources) > 1
        to = self._folder / target.lstrip("/") if target.startswith("/") else self._workdir / target
        for source in sources:
            path = root / source.lstrip("/")
            if path == to:
                continue
            if path.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, to, dirs_exist_ok=True, symlinks=True, ignore=ignore)
                continue
            file = to / path.name if is_folder else to
            file.parent.mkdir(parents=True, exist_ok=True)
            if file != path:
                shutil.copy2(path, file)


def stages_of(target: str) -> list[Stage]:
    """The stages that a target needs, in the order of the Dockerfile."""
    dockerfile = parse((ROOT / "Dockerfile").read_text("utf-8"))
    needed, waiting = set[str](), [target]
    while waiting:
        for stage in dockerfile.lineage(waiting.pop()):
            needed.add(stage.name)
            waiting += [copy.flags["from"] for copy in stage.all("COPY") if "from" in copy.flags]
    return [stage for stage in dockerfile.stages if stage.name in needed]


def main() -> None:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--stages", help="only these, comma-separated")
    options = parser.parse_args()
    if options.folder.is_dir() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty: what lies there could stand in for what no step makes.")
    wanted = options.stages.split(",") if options.stages else None
    rehearsal = Rehearsal(options.folder)
    for stage in stages_of(options.target):
        if wanted is not None and stage.name not in wanted:
            continue
        print(f"== {stage.name}", flush=True)
        for command in rehearsal.play(stage):
            print(f"left out, needs a container: {command}", flush=True)


if __name__ == "__main__":
    main()
