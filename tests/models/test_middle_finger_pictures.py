"""MFD on real pictures, which are not part of the repository: it must find, and must not flag."""

from pathlib import Path

import cv2
import pytest
from mediapipe_weights import middle_finger

from streamapp.media import Frame

PICTURES = Path(__file__).parents[2].parent / "shared" / "data" / "hands"
SHOWN = {"hg_MIDFINGER", "hs_00", "hs_12", "hs_13", "hs_27"}


@pytest.mark.skipif(not PICTURES.is_dir(), reason="needs the hand pictures beside the checkout")
def test_four_of_five_middle_fingers_are_found_and_no_other_picture_is_flagged() -> None:
    model = middle_finger()
    model.load()
    paths = sorted(PICTURES.glob("*.png"))
    frames = [model.prepare(Frame(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))) for path in paths]
    raws = [raw for start in range(0, len(frames), 8) for raw in model.infer(frames[start : start + 8])]
    flagged = {
        path.stem
        for path, raw, frame in zip(paths, raws, frames, strict=True)
        if model.judge({"mfd": [model.finish(raw, frame)]}).to_be_moderated
    }
    assert len(paths) == 61
    assert flagged <= SHOWN
    assert len(flagged) >= 4
