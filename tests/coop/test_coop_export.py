from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from streamapp.coop.export import Tagger, load_tagger, save_tagger
from streamapp.errors import WeightsError

TAGGER = Tagger(
    classes=("music and singing", "dead-bodies-&-corpes", "größe"),
    weights=np.arange(12, dtype=np.float32).reshape(3, 4),
    bias=np.array([0, 1, -1], np.float32),
    scale=100.0,
    clip_name="ViT-B-16",
    clip_sha256="ab" * 32,
)


def test_a_tagger_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "coop.safetensors"
    save_tagger(path, TAGGER)
    found = load_tagger(path)
    assert (found.classes, found.scale) == (TAGGER.classes, TAGGER.scale)
    assert (found.clip_name, found.clip_sha256) == (TAGGER.clip_name, TAGGER.clip_sha256)
    assert np.array_equal(found.weights, TAGGER.weights)
    assert np.array_equal(found.bias, TAGGER.bias)
    assert [file.name for file in path.parent.iterdir()] == ["coop.safetensors"]


@pytest.mark.parametrize(
    ("tagger", "reason"),
    [
        (replace(TAGGER, classes=("one", "two")), "names 2 classes, but its weights are"),
        (replace(TAGGER, bias=np.zeros(2, np.float32)), "its bias"),
        (replace(TAGGER, weights=np.full((3, 4), np.nan, np.float32)), "not finite"),
        (replace(TAGGER, scale=float("inf")), "not finite"),
        (replace(TAGGER, scale=np.ones(2, np.float32)), "is no tagger"),  # type: ignore[arg-type]
    ],
)
def test_a_tagger_that_is_not_whole_is_refused(tmp_path: Path, tagger: Tagger, reason: str) -> None:
    save_tagger(tmp_path / "coop.safetensors", tagger)
    with pytest.raises(WeightsError, match=reason):
        load_tagger(tmp_path / "coop.safetensors")


def test_another_file_is_no_tagger(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weights": TAGGER.weights}, path)
    with pytest.raises(WeightsError, match="is no tagger"):
        load_tagger(path)
    tensors = {"weights": TAGGER.weights, "bias": TAGGER.bias, "scale": np.array(1, np.float32)}
    for classes in ("{no json", "3", '{"a": 1}', "[1]"):
        header = {"format": "streamapp-tagger-1", "classes": classes, "clip_name": "", "clip_sha256": ""}
        save_file(tensors, path, header)
        with pytest.raises(WeightsError, match="is no tagger"):
            load_tagger(path)
    save_file(tensors, path, {"format": "streamapp-tagger-1"})
    with pytest.raises(WeightsError, match=r"is no tagger .*classes"):
        load_tagger(path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="can't be read"):
        load_tagger(path)
    with pytest.raises(WeightsError, match="can't be read"):
        load_tagger(tmp_path / "missing.safetensors")
