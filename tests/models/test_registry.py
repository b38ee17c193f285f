"""The models that are on: their files are checked before any is loaded; an added one is its file."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import added
from streamapp.models.registry import build_ensemble, build_models, check_weights
from streamapp.models.store import find_artifact
from streamapp.models.store.cache import cached_path
from streamapp.policy import Mode, Policy, load_policy
from streamapp.settings import Settings, load_settings

POLICY = load_policy()


def policy_with(name: str, mode: Mode) -> Policy:
    return replace(POLICY, modes={**POLICY.modes, name: mode})


@pytest.fixture
def cpu() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


# The files


def test_all_four_models_are_on_by_default() -> None:
    assert Settings().models == ("nudenet", "mfd", "clip", "coop")


def test_a_machine_that_has_fetched_nothing_is_told_all_it_lacks_in_one_sentence(
    tmp_path: Path, cpu: ThreadPoolExecutor
) -> None:
    settings = Settings(model_cache=tmp_path)
    for check in (
        lambda: check_weights(settings, POLICY),
        lambda: build_ensemble(settings, POLICY, cpu),
    ):
        with pytest.raises(WeightsError) as caught:
            check()
        message = str(caught.value)
        for name in ("mfd-palm", "mfd-landmark", "clip-vit-b-16"):
            assert str(cached_path(tmp_path, find_artifact(name))) in message
        assert "`streamapp models fetch`" in message
        assert "STREAMAPP_MODELS" in message
        assert message.count(". ") == message.count("\n") == 0


def test_every_model_whose_file_is_another_one_is_told(tmp_path: Path) -> None:
    for name in ("mfd-palm", "mfd-landmark"):
        path = cached_path(tmp_path, find_artifact(name))
        path.parent.mkdir()
        path.write_bytes(b"another file")
    settings = Settings(models=("mfd", "nudenet"), model_cache=tmp_path, nudenet_weights=tmp_path)
    with pytest.raises(WeightsError) as caught:
        check_weights(settings, POLICY)
    palm, nudenet = str(caught.value).splitlines()
    assert find_artifact("mfd-palm").sha256 in palm  # type: ignore[operator]
    assert "STREAMAPP_NUDENET_WEIGHTS" in nudenet


@pytest.mark.parametrize(("mode", "warnings"), [("shadow", 1), ("enforce", 0)])
def test_a_worker_of_which_no_model_has_a_say_warns_of_it(
    mode: Mode, warnings: int, cpu: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    build_ensemble(Settings(models=("nudenet",)), policy_with("nudenet", mode), cpu)
    assert caplog.text.count("no row will ask for a person") == warnings


# Added models

MODEL = """
from streamapp.models.base import Model
from streamapp.models.runner import ModelSpec


class Blur(Model):
    name = "{name}"
    prefix = "{prefix}"
    info = None

    def check_weights(self): ...
    def load(self): ...
    def warm_up(self): ...
    def prepare(self, frame): ...
    def infer(self, batch): ...
    def finish(self, raw, prepared): ...
    def judge(self, findings): ...


def {function}(settings, policy):
    return ModelSpec(make=Blur, instances=1, max_queued=64)
"""
GOOD = {"name": "blur", "prefix": "BLUR", "function": "model_spec"}


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts a text among the added models, as blur.py."""
    monkeypatch.setattr(added, "__path__", [*added.__path__, str(tmp_path)])
    # One file after another has this name, within the second that a compiled file's time can tell.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield lambda text: (tmp_path / "blur.py").write_text(text) and None
    sys.modules.pop(f"{added.__name__}.blur", None)


def test_a_file_among_the_added_models_is_a_model(add: Callable[[str], None]) -> None:
    with pytest.raises(SettingsError, match=r"this version has nudenet, mfd, clip, coop$"):
        load_settings({"STREAMAPP_MODELS": "blur"})
    add(MODEL.format(**GOOD))
    settings = load_settings({"STREAMAPP_MODELS": "blur"})
    assert [network.name for network in build_models(settings, policy_with("blur", "shadow"))] == ["blur"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"function": "make"}, r"blur\.py defines no `model_spec\(settings, policy\)`"),
        ({"name": "noise"}, r"blur\.py makes noise: a model has the name of its file, blur"),
        ({"prefix": "NN"}, r"blur\.py has the prefix NN, which is another model's"),
    ],
)
def test_a_file_that_is_no_model_of_its_own_is_refused(
    add: Callable[[str], None], changed: dict[str, str], told: str
) -> None:
    add(MODEL.format(**GOOD | changed))
    with pytest.raises(SettingsError, match=told):
        build_models(Settings(models=("blur",)), policy_with("blur", "shadow"))
