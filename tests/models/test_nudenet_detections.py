import numpy as np
import pytest

from streamapp.models.nudenet_detections import LABELS, Detection, Tensor, read_detections

ANCHORS = 2100


def answer(*anchors: tuple[str, float, tuple[float, float, float, float]]) -> Tensor:
    """The network's answer with these anchors: label, score, (centre x, centre y, width, height)."""
    raw = np.zeros((4 + len(LABELS), ANCHORS), np.float32)
    for index, (label, score, box) in enumerate(anchors):
        column = index * 7 + 3
        raw[:4, column] = box
        raw[4 + LABELS.index(label), column] = score
    return raw


def read(raw: Tensor, width_px: int = 320, height_px: int = 320, scale: float = 1.0) -> tuple[Detection, ...]:
    return read_detections(raw, width_px, height_px, scale)


def test_an_answer_without_scores_has_no_detections() -> None:
    assert read(answer()) == ()


def test_each_row_of_the_answer_stands_for_its_label() -> None:
    for label in LABELS:
        (detection,) = read(answer((label, 0.75, (100, 100, 20, 20))))
        assert (detection.label, detection.score) == (label, 0.75)


def test_a_score_of_exactly_the_floor_is_no_detection() -> None:
    assert read(answer(("FACE_MALE", 0.25, (100, 100, 20, 20)))) == ()
    assert len(read(answer(("FACE_MALE", 0.2501, (100, 100, 20, 20))))) == 1


def test_an_anchor_counts_for_its_best_class_only() -> None:
    raw = answer(("FACE_MALE", 0.5, (100, 100, 20, 20)))
    raw[4 + LABELS.index("FACE_FEMALE"), 3] = 0.75
    (detection,) = read(raw)
    assert detection.label == "FACE_FEMALE"


def test_of_two_boxes_that_overlap_the_better_stays_whatever_their_classes() -> None:
    face = ("FACE_MALE", 0.5, (100.0, 100.0, 20.0, 20.0))
    belly = ("BELLY_EXPOSED", 0.75, (101.0, 100.0, 20.0, 20.0))
    assert [d.label for d in read(answer(face, belly))] == ["BELLY_EXPOSED"]


def test_boxes_that_overlap_by_less_than_the_limit_all_stay_best_first() -> None:
    # Two squares of 20 px, 8 px apart: 240 of 560 px² shared, 0.43 < 0.45.
    face = ("FACE_MALE", 0.5, (100.0, 100.0, 20.0, 20.0))
    belly = ("BELLY_EXPOSED", 0.75, (108.0, 100.0, 20.0, 20.0))
    assert [d.label for d in read(answer(face, belly))] == ["BELLY_EXPOSED", "FACE_MALE"]


@pytest.mark.parametrize(("width_px", "height_px"), [(640, 480), (480, 640), (640, 640)])
def test_boxes_are_placed_by_the_longer_side(width_px: int, height_px: int) -> None:
    (detection,) = read(answer(("FACE_MALE", 0.5, (100, 50, 20, 10))), width_px, height_px)
    assert detection.box_px == (180.0, 90.0, 40.0, 20.0)


def test_boxes_are_in_pixels_of_the_file_where_the_frame_was_scaled_down() -> None:
    raw = answer(("FACE_MALE", 0.5, (100, 50, 20, 10)))
    (detection,) = read(raw, 640, 480, scale=2.5)
    assert detection.box_px == (450.0, 225.0, 100.0, 50.0)


def test_boxes_are_in_pixels_of_the_file_where_bars_were_cut_off_the_frame() -> None:
    raw = answer(("FACE_MALE", 0.9, (100, 60, 20, 10)))
    (whole,) = read_detections(raw, 320, 320, 2.0)
    (cut,) = read_detections(raw, 320, 320, 2.0, (30.0, 70.0))
    left, top, width, height = whole.box_px
    assert cut.box_px == (left + 30, top + 70, width, height)


def test_a_box_that_reaches_below_or_right_of_the_picture_is_cut() -> None:
    raw = answer(("FACE_MALE", 0.5, (150, 75, 40, 50)))
    (cut_below,) = read(raw, 320, 80)
    (cut_right,) = read(raw, 140, 320)
    assert cut_below.box_px == (130.0, 50.0, 40.0, 30.0)
    assert cut_right.box_px == (130.0, 50.0, 10.0, 50.0)


def test_a_box_that_begins_outside_is_moved_in_as_in_the_package() -> None:
    (detection,) = read(answer(("FACE_MALE", 0.5, (5, 100, 20, 20))))
    assert detection.box_px == (0.0, 90.0, 20.0, 20.0)
