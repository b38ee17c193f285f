"""docs/add-a-model.md, followed step by step: its file, its lines of registry, its line of policy."""

import json
import re
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fakes import frame_of

from streamapp.compose import Composer
from streamapp.errors import FetchError, SettingsError
from streamapp.media import Frame, Picture
from streamapp.models import registry
from streamapp.models.ensemble import Ensemble
from streamapp.obtain import Obtained
from streamapp.policy import DEFAULT_FILE, Mode, Policy, load_policy
from streamapp.reasons import Reason
from streamapp.records import Event, ResultRow, read_row
from streamapp.settings import Settings, checks

PAGE = Path(__file__).parents[1] / "docs" / "add-a-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
(MODEL_FILE, KNOWN_MODELS_LINE, REGISTRY_LINE) = [text for language, text in BLOCKS if language == "python"]
(POLICY_LINE,) = [text for language, text in BLOCKS if language == "yaml"]
(ROW_PART,) = [text for language, text in BLOCKS if language == "json"]

BLACK = (frame_of(0),)
GREY = (frame_of(120),)
HALF_BLACK = (Frame(np.concatenate([BLACK[0].pixels, GREY[0].pixels])),)


def module_of(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module as if the source were its file."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


@pytest.fixture
def edited_registry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The registry after the page's steps 1 and 2."""
    module_of("streamapp.models.dark", MODEL_FILE, monkeypatch)
    known: dict[str, Any] = {}
    exec(KNOWN_MODELS_LINE, known)
    monkeypatch.setattr(checks, "KNOWN_MODELS", known["KNOWN_MODELS"])
    source = Path(registry.__file__).read_text("utf-8")
    first_line = '        "nudenet": lambda: ModelSpec(\n'
    assert source.count(first_line) == 1
    source = source.replace(first_line, REGISTRY_LINE + first_line)
    return module_of("edited_registry", source + "\nfrom streamapp.models.dark import Dark\n", monkeypatch)


def policy_in(mode: Mode, folder: Path) -> Policy:
    """The default policy after the page's step 3."""
    line = POLICY_LINE.replace("shadow", mode)
    file = folder / "policy.yaml"
    file.write_text(DEFAULT_FILE.read_text("utf-8").replace("\nmodels:\n", f"\nmodels:\n{line}"), "utf-8")
    return load_policy(file)


@asynccontextmanager
async def ensemble_of(edited: ModuleType, policy: Policy) -> AsyncIterator[Ensemble]:
    with ThreadPoolExecutor(1) as cpu:
        async with edited.build_ensemble(Settings(models=("dark",)), policy, cpu) as ensemble:
            yield ensemble


async def row_of(frames: tuple[Frame, ...] | None, edited: ModuleType, policy: Policy) -> ResultRow:
    """The row of a picture of these frames, None for one that is not found, as it is read from the topic."""
    async with ensemble_of(edited, policy) as ensemble:
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
async def test_the_documented_model_has_a_say_when_enforced_and_none_in_shadow(
    mode: Mode,
    frames: tuple[Frame, ...] | None,
    is_flagged: bool,
    is_to_be_moderated: bool,
    edited_registry: ModuleType,
    tmp_path: Path,
) -> None:
    row = await row_of(frames, edited_registry, policy_in(mode, tmp_path))

    model = row.MODEL_ATTRIBUTES.PROVENANCE["models"]["dark"]
    assert row.TO_BE_MODERATED is is_to_be_moderated
    assert model["columns"]["DARK_TO_BE_MODERATED"] is is_flagged
    assert model["mode"] == mode
    assert row.MODEL_ATTRIBUTES.statuses() == {"DARK": 403 if frames is None else 0}


async def test_the_row_has_what_the_page_says(edited_registry: ModuleType, tmp_path: Path) -> None:
    row = await row_of(BLACK, edited_registry, policy_in("shadow", tmp_path))

    shown = json.loads(ROW_PART)["models"]["dark"]
    found = row.MODEL_ATTRIBUTES.PROVENANCE["models"]["dark"]
    assert found["columns"].pop("DARK_DURATION") >= 0
    assert shown["columns"].pop("DARK_DURATION") >= 0
    assert found == shown


def test_without_the_line_of_policy_the_worker_says_which_one_is_missing(edited_registry: ModuleType) -> None:
    with pytest.raises(SettingsError, match=r"add `dark: \{mode: shadow\}`"):
        edited_registry.build_models(Settings(models=("dark",)), load_policy())


@pytest.mark.usefixtures("edited_registry")
def test_a_known_model_that_the_registry_does_not_make_is_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="dark"):
        registry.build_models(Settings(models=("nudenet", "dark")), policy_in("enforce", tmp_path))
