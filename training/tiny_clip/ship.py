"""Put an export, tested, into the package: weights, config, vocabulary, report, sources and notice."""

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from streamapp.models import tiny_clip
from training.tiny_clip.evaluate import Evaluation
from training.tiny_clip.files import replaced
from training.tiny_clip.sources import PACKAGES, Package, Role
from training.tiny_clip.train import EXPORT_FOLDER, TRAINING_FILE, Say

MAX_BYTES = 10_000_000


def ship(data: Path, run: Path, folder: Path, say: Say) -> None:
    """Evaluate a run's export and copy it, file by file, each whole or not at all; the report comes last.

    Raises:
        ValueError: the files are larger than what the package may carry.
    """
    export = run / EXPORT_FOLDER
    report = {
        "network": tiny_clip.NAME,
        "training": json.loads((run / TRAINING_FILE).read_text(encoding="utf-8")),
        "evaluation": Evaluation(data, export).report(say),
    }
    names = (tiny_clip.CONFIG_FILE, tiny_clip.VOCABULARY_FILE, tiny_clip.WEIGHTS_FILE)
    total = sum((export / name).stat().st_size for name in names)
    if total > MAX_BYTES:
        raise ValueError(
            f"The export in {export} has {total} bytes, more than {MAX_BYTES}: it was not shipped."
        )
    for name in names:
        with replaced(folder / name) as part:
            shutil.copyfile(export / name, part)
    _write(folder / tiny_clip.NOTICE_FILE, open_clip_licence())
    _write(folder / tiny_clip.SOURCES_FILE, sources_page(report))
    _write(folder / tiny_clip.REPORT_FILE, json.dumps(report, indent=2) + "\n")
    say(f"shipped {total / 1e6:.1f} MB to {folder}")


def open_clip_licence() -> str:
    """The licence text that open_clip_torch carries; the vocabulary is a part of a file of that package."""
    files = distribution("open_clip_torch").files or []
    licence = next(path for path in files if path.name == "LICENSE")
    return licence.read_text(encoding="utf-8")


def sources_page(report: dict[str, Any]) -> str:
    """The page that names data and licences, in Markdown."""
    training = report["training"]
    packages = {role: [package for package in PACKAGES if package.role is role] for role in Role}
    return f"""# The tiny CLIP: sources and licences

Written by `training/tiny_clip`; don't edit it here.

The weights were trained from nothing, by this repository's script, in {training["steps"]} steps and
{training["minutes"]:.0f} minutes ({training["machine"]}). They know emoji art. Expect little of them on
photographs: they are for the demo, the tests and the training of CoOp prompts, not for moderating anything.

## Learnt from

| art | package | licence | by |
|---|---|---|---|
{_rows(packages[Role.TRAIN])}

| names and keywords | package | licence | by |
|---|---|---|---|
{_rows(packages[Role.TEXT])}

None of these pictures is in the package or in the repository. Emoji One's art is licensed under
CC BY 4.0 (creativecommons.org/licenses/by/4.0); it was rendered, augmented and learnt from.

## Tested on, never learnt from

| art | package | licence | by |
|---|---|---|---|
{_rows(packages[Role.TEST])}

## Taken over

`{tiny_clip.VOCABULARY_FILE}` holds the first merges of CLIP's byte-pair vocabulary as open_clip_torch
carries it (MIT, `{tiny_clip.NOTICE_FILE}`). The network's code is open_clip's own;
`{tiny_clip.CONFIG_FILE}` only gives its sizes.
"""


def _rows(packages: list[Package]) -> str:
    return "\n".join(
        f"| {package.key} | {package.name} {package.version} | {package.licence} | {package.credit} |"
        for package in packages
    )


def _write(path: Path, text: str) -> None:
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")
