"""MediaPipe's two networks for the tests: from the model cache, fetched into it if they can be."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from streamapp.errors import WeightsError
from streamapp.models.middle_finger import MiddleFinger
from streamapp.models.store import Store
from streamapp.models.weights import WeightsFile, sha256_of
from streamapp.settings import load_settings


@cache
def _fetch() -> tuple[Path, Path] | str:
    store = Store(load_settings({}))
    try:
        palm, landmark = (
            store.fetch(name, lambda here, all_: None, lambda text: None).path
            for name in ("mfd-palm", "mfd-landmark")
        )
    except WeightsError as exc:
        return str(exc)
    return palm, landmark


def mediapipe_weights() -> tuple[Path, Path]:
    """Palm and landmark network; skips the test, with the reason, where they can't be had."""
    weights = _fetch()
    if isinstance(weights, str):
        pytest.skip(weights)
    return weights


def middle_finger(**options: object) -> MiddleFinger:
    """An unloaded model with the real weights."""
    palm, landmark = mediapipe_weights()
    return MiddleFinger(palm=located(palm), landmark=located(landmark), threads=2, **options)  # type: ignore[arg-type]


def located(path: Path) -> Callable[[], WeightsFile]:
    """Finds a file of the user's own, which may be any."""
    return lambda: WeightsFile(path, sha256_of(path))
