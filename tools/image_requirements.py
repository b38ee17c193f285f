"""Writes pip's requirement files for the image's targets out of pyproject.toml; a step of the Dockerfile.

The dependency layer is built from these files alone, so that neither a change of the code nor one of the rest
of pyproject.toml makes it anew.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

# Target of the Dockerfile → the extras that it has.
EXTRAS = {"cpu": ("tracing", "warehouse"), "cuda": ("gpu", "tracing", "warehouse")}
# Requires onnxruntime, which must not come beside onnxruntime-gpu; we require all that it does ourselves.
BARE = ("nudenet",)
# With CUDA's libraries as extras: pip then finds versions that agree with torch's, or says that it can't.
CUDA_NAMES = {"onnxruntime": "onnxruntime-gpu[cuda,cudnn]"}


def files_of(project: dict[str, Any]) -> dict[str, str]:
    """Name of the file → its text: one for each target, and ``bare.txt``, installed without dependencies.

    Args:
        project: the table ``project`` of pyproject.toml.
    """
    files = {"bare.txt": [line for line in project["dependencies"] if _name(line) in BARE]}
    for target, extras in EXTRAS.items():
        lines = [line for line in project["dependencies"] if _name(line) not in BARE]
        for extra in extras:
            lines += project["optional-dependencies"][extra]
        files[f"{target}.txt"] = [_for_cuda(line) for line in lines] if target == "cuda" else lines
    return {name: "".join(f"{line}\n" for line in sorted(lines)) for name, lines in files.items()}


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} in pyproject.toml names no package.")
    return found[0]


def _for_cuda(requirement: str) -> str:
    name = _name(requirement)
    return CUDA_NAMES.get(name, name) + requirement.removeprefix(name)


def main() -> None:
    """Write the files: ``image_requirements.py pyproject.toml FOLDER``."""
    pyproject, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files_of(tomllib.loads(pyproject.read_text("utf-8"))["project"]).items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
