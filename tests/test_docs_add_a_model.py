"""docs/add-a-model.md, followed step by step: its file, its line of policy."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import invalidate_caches
from pathlib import Path

import numpy as np
import pytest
from fakes import frame_of

from streamapp.compose import Composer
from streamapp.errors import FetchError, SettingsError
from streamapp.media import Frame, Picture
from streamapp.models import added
from streamapp.models.ensemble import Ensemble
from streamapp.models.registry import build_ensemble, build_models
from streamapp.obtain import Obtained
from streamapp.policy import DEFAULT_FILE, Mode, Policy, load_policy
from streamapp.reasons import Reason
from streamapp.records import Event, ResultRow, read_row
from streamapp.settings import Settings, load_settings
from streamapp.settings.checks import known_models

PAGE = Path(__file__).parents[1] / "docs" / "add-a-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
(MODEL_FILE,) = [text for language, text in BLOCKS if language == "python"]
(POLICY_LINE,) = [text for language, text in BLOCKS if language == "yaml"]
(ROW_PART,) = [text for language, text in BLOCKS if language == "json"]

BLACK = (frame_of(0),)
GREY = (frame_of(120),)
HALF_BLACK = (Frame(np.concatenate([BLACK[0].pixels, GREY[0].pixels])),)


def add(name: str, content: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a file into the package of added models, as far as this test can see."""
    (folder / f"{name}.py").write_text(content, "utf-8")
    monkeypatch.setattr(added, "__path__", [*added.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{added.__name__}.{name}", raising=False)
    invalidate_caches()


@pytest.fixture
def with_dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's step 1."""
    add("dark", MODEL_FILE, tmp_path, monkeypatch)
    yield
    sys.modules.pop("streamapp.models.added.dark", None)


def policy_in(mode: Mode, folder: Path) -> Policy:
    """The default policy after the page's step 3."""
    line = POLICY_LINE.replace("shadow", mode)
    file = folder / "policy.yaml"
    file.write_text(DEFAULT_FILE.read_text("utf-8").replace("\nmodels:\n", f"\nmodels:\n{line}"), "utf-8")
    return load_policy(file)


@asynccontextmanager
async def ensemble_of(policy: Policy) -> AsyncIterator[Ensemble]:
    with ThreadPoolExecutor(1) as cpu:
        async with build_ensemble(Settings(models=("dark",)), policy, cpu) as ensemble:
            yield ensemble


async def row_of(frames: tuple[Frame, ...] | None, policy: Policy) -> ResultRow:
    """The row of a picture of these frames, None for one that is not found, as it is read from the topic."""
    async with ensemble_of(policy) as ensemble:
        if frames is None:
            obtained = Obtained(None, FetchError(Reason.NOT_FOUND, "404", attempts=1))
            reports = ensemble.failed(Reason.NOT_FOUND)
        else:
            obtained = Obtained(Picture("00" * 32, "image/png", 100, 2, 2, frames), None)
            reports = await ensemble.look(ensemble.prepare(frames))
    event = Event("7", "https://cdn.example.com/a.png", None, None, None)
    row = Composer("1.0.0", policy).compose(event, None, datetime.now(UTC), 0.1, obtained, reports)
    return read_row(row.to_json())


@pytest.mark.parametrize(
    ("mode", "frames", "is_flagged", "is_to_be_moderated"),
    [
        ("enforce", BLACK, True, True),
        ("enforce", GREY, False, False),
        ("enforce", HALF_BLACK, False, False),
        ("enforce", (*GREY, *BLACK), True, True),
        ("shadow", BLACK, True, False),
        ("enforce", None, True, True),
        ("shadow", None, True, False),
    ],
)
@pytest.mark.usefixtures("with_dark")
async def test_the_documented_model_has_a_say_when_enforced_and_none_in_shadow(
    mode: Mode,
    frames: tuple[Frame, ...] | None,
    is_flagged: bool,
    is_to_be_moderated: bool,
    tmp_path: Path,
) -> None:
    row = await row_of(frames, policy_in(mode, tmp_path))

    model = row.MODEL_ATTRIBUTES.PROVENANCE["models"]["dark"]
    assert row.TO_BE_MODERATED is is_to_be_moderated
    assert model["columns"]["DARK_TO_BE_MODERATED"] is is_flagged
    assert model["mode"] == mode
    assert row.MODEL_ATTRIBUTES.statuses() == {"DARK": 403 if frames is None else 0}


@pytest.mark.usefixtures("with_dark")
async def test_the_row_has_what_the_page_says(tmp_path: Path) -> None:
    row = await row_of(BLACK, policy_in("shadow", tmp_path))

    shown = json.loads(ROW_PART)["models"]["dark"]
    found = row.MODEL_ATTRIBUTES.PROVENANCE["models"]["dark"]
    assert found["columns"].pop("DARK_DURATION") >= 0
    assert shown["columns"].pop("DARK_DURATION") >= 0
    assert found == shown


def test_the_example_is_as_short_as_it_is_said_to_be() -> None:
    assert sum(bool(line.strip()) for line in MODEL_FILE.splitlines()) <= 30


@pytest.mark.usefixtures("with_dark")
def test_the_file_alone_makes_the_model_known() -> None:
    assert "dark" in known_models()
    assert load_settings({"STREAMAPP_MODELS": "nudenet,dark"}).models == ("nudenet", "dark")


@pytest.mark.usefixtures("with_dark")
def test_without_the_line_of_policy_the_worker_says_which_one_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"add `dark: \{mode: shadow\}`"):
        build_models(Settings(models=("dark",)), load_policy())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"dark\.py defines no `model_spec\(settings, policy\)`"),
        (
            MODEL_FILE.replace('"dark", "DARK"', '"black", "DARK"'),
            r"dark\.py makes black: .* name of its file",
        ),
        (MODEL_FILE.replace('"dark", "DARK"', '"dark", "NN"'), r"dark\.py has the prefix NN"),
    ],
    ids=["no spec", "another name", "another model's columns"],
)
def test_a_file_that_makes_no_model_of_its_own_stops_the_worker(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("dark", content, tmp_path, monkeypatch)
    with pytest.raises(SettingsError, match=message):
        build_models(Settings(models=("dark",)), policy_in("shadow", tmp_path))
    sys.modules.pop("streamapp.models.added.dark")
