"""`streamapp coop`, as it is run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from shapes import CODES, draw_folders

from streamapp.cli import COMMANDS, group
from streamapp.coop.export import load_tagger
from streamapp.errors import StreamappError
from streamapp.policy import load_policy

# Stands in for torch at its first import.
SPY = """
import os, sys
class Torch:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Torch())
open("none.safetensors", "w").close()
from streamapp.cli import main
main()
"""

QUICK = ("--clip", "tiny", "--shots", "2", "--validation-shots", "1", "--context", "2")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def untouched_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamapp.cli.coop.configure_logs", lambda level: None)


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(group, ["coop", *map(str, arguments)])
    if isinstance(result.exception, StreamappError):
        raise result.exception
    return result


def test_what_train_writes_evaluate_can_test(tmp_path: Path) -> None:
    pictures = draw_folders(tmp_path / "pictures", 5)
    trained = run(
        "train", pictures, *QUICK, "--epochs", "2", "--views", "1", "--output", "out/coop.safetensors"
    )
    assert trained.exit_code == 0, trained.output
    assert re.search(r"Learnt prompts: +[\d.]+% of 12 pictures", trained.output)
    assert "Epoch 2 of 2: training" in trained.output
    report = Path("out/coop-report")
    assert {file.name for file in report.iterdir()} == {"report.json", "report.md", "confusion.png"}

    tested = run("evaluate", "out/coop.safetensors", pictures, "--json", "--report", "tested")
    values = json.loads(tested.stdout)
    assert values["pictures"] == 30
    assert json.loads(Path("tested/report.json").read_text())["test"] == values
    shown = run("evaluate", "out/coop.safetensors", pictures)
    assert all(code in shown.output for code in CODES.values())
    assert "of 30 pictures" in shown.output


def test_classes_of_the_policy_are_exported_in_its_order(tmp_path: Path) -> None:
    chosen = [one.name for one in load_policy().taxonomy.classes][:6]
    pictures = draw_folders(tmp_path / "pictures", 3)
    for code, name in zip(CODES.values(), reversed(chosen), strict=True):
        (pictures / code).rename(pictures / name)
    assert run("train", pictures, *QUICK, "--epochs", "1", "--views", "0").exit_code == 0
    assert list(load_tagger(Path("coop.safetensors")).classes) == chosen


def test_an_old_checkpoint_is_converted(tmp_path: Path) -> None:
    torch.save({"state_dict": {"ctx": torch.randn(4, 128)}}, "model.pth.tar-50")
    Path("classes.txt").write_text("dog\ncat\n\n")
    result = run(
        *("convert", "model.pth.tar-50", "coop.safetensors", "--clip", "tiny", "--classes", "classes.txt")
    )
    assert result.exit_code == 0, result.output
    tagger = load_tagger(Path("coop.safetensors"))
    assert (tagger.classes, tagger.weights.shape) == (("dog", "cat"), (2, 128))
    run("convert", "model.pth.tar-50", "policy.safetensors", "--clip", "tiny")
    assert len(load_tagger(Path("policy.safetensors")).classes) == len(load_policy().taxonomy.classes)


def test_a_checkpoint_of_another_backbone_writes_nothing() -> None:
    torch.save({"state_dict": {"ctx": torch.randn(16, 512)}}, "model.pth.tar-50")
    with pytest.raises(StreamappError, match="have 512 numbers, those of tinyclip-emoji have 128"):
        run("convert", "model.pth.tar-50", "coop.safetensors", "--clip", "tiny")
    assert not Path("coop.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--init", "a photo", "--context", "4"), "leave --context away"),
        (("--prompt", "a photo"), "has no {} for the class"),
        (("--shots", "0"), "0 is not in the range"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    result = run("train", draw_folders(tmp_path / "pictures", 1), *options)
    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize("place", [("--output", "file/coop.safetensors"), ("--report", "file/report")])
def test_a_place_that_can_not_be_written_to_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[str, str]
) -> None:
    monkeypatch.setattr("streamapp.coop.experiment.run_experiment", lambda *_: pytest.fail("it was trained"))
    Path("file").write_text("in the way")
    with pytest.raises(StreamappError, match=r"can't be written to \(.*: give another place"):
        run("train", draw_folders(tmp_path / "pictures", 3), *QUICK, *place)


def test_class_names_that_are_no_text_are_named() -> None:
    torch.save({"state_dict": {"ctx": torch.randn(4, 128)}}, "model.pth.tar-50")
    Path("classes.txt").write_bytes(b"dog\nf\xfcr\n")
    with pytest.raises(StreamappError, match=r"classes\.txt can't be read as UTF-8 text"):
        run("convert", "model.pth.tar-50", "coop.safetensors", "--clip", "tiny", "--classes", "classes.txt")


def test_weights_for_the_clip_in_the_package_are_refused_and_not_ignored(tmp_path: Path) -> None:
    Path("mine.safetensors").write_bytes(b"any")
    result = run(
        "train", draw_folders(tmp_path / "pictures", 3), *QUICK, "--clip-weights", "mine.safetensors"
    )
    assert result.exit_code == 2
    assert "leave --clip-weights away" in result.output


def test_openmp_is_told_not_to_spin_before_torch_is_imported() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SPY, "coop", "evaluate", "none.safetensors", "."],
        env={name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.stdout == "PASSIVE\n", found.stderr


@pytest.mark.parametrize("name", ["train", "evaluate", "convert"])
def test_each_command_shows_examples(name: str) -> None:
    assert f"streamapp coop {name} " in run(name, "--help").output


def test_the_command_is_registered() -> None:
    assert COMMANDS["coop"] == "coop"
