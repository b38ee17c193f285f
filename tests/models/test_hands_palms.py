from math import log, pi

import numpy as np
import pytest

from streamapp.models import hands_palms
from streamapp.models.hands_geometry import Region, Tensor
from streamapp.models.hands_palms import ANCHOR_CENTRES, Palm, merge_palms, overlaps, read_palms

SQUARE = Region(96, 96, 192)  # the frame is the network's input
NOTHING = -20.0


def logit(score: float) -> float:
    return log(score / (1 - score))


def answer(*palms: tuple[int, float, tuple[float, ...]]) -> tuple[Tensor, Tensor]:
    """The network's answer where these anchors, by number, have this score and this row's beginning."""
    rows, logits = np.zeros((2016, 18), np.float32), np.full(2016, NOTHING, np.float32)
    for anchor, score, row in palms:
        rows[anchor, : len(row)] = row
        logits[anchor] = logit(score)
    return rows, logits


# Anchor 600 is the first of its cell: row 12, column 12 of 24, and so its centre is (12.5, 12.5) * 8 px.
UPRIGHT = (0.0, 0.0, 40.0, 20.0, *(0.0, 30.0), *(0.0, 0.0), *(0.0, -30.0))
"""A box of 40 x 20 around (100, 100), the wrist 30 px below its centre, the middle finger's base above."""


def test_there_are_2016_anchors_in_two_layers() -> None:
    assert ANCHOR_CENTRES.shape == (24 * 24 * 2 + 12 * 12 * 6, 2) == (2016, 2)
    np.testing.assert_allclose(ANCHOR_CENTRES[[0, 1]], [[1 / 48, 1 / 48]] * 2)
    np.testing.assert_allclose(ANCHOR_CENTRES[2], [3 / 48, 1 / 48])
    np.testing.assert_allclose(ANCHOR_CENTRES[600] * 192, [100, 100])
    np.testing.assert_allclose(ANCHOR_CENTRES[1152:1158], [[1 / 24, 1 / 24]] * 6)
    np.testing.assert_allclose(ANCHOR_CENTRES[-1], [23 / 24, 23 / 24])


def test_a_palm_is_read_where_its_anchor_and_its_row_say() -> None:
    (palm,) = read_palms(*answer((600, 0.75, UPRIGHT)), SQUARE)
    assert palm.score == pytest.approx(0.75)
    assert palm.box_px == pytest.approx((80, 90, 120, 110))
    assert not palm.is_doubtful


def test_the_region_of_an_upright_hand_is_moved_up_and_scaled_by_the_longer_side() -> None:
    (palm,) = read_palms(*answer((600, 0.75, UPRIGHT)), SQUARE)
    assert (palm.hand.centre_x_px, palm.hand.centre_y_px) == pytest.approx((100, 90))
    assert palm.hand.side_px == pytest.approx(2.6 * 40)
    assert palm.hand.rotation_rad == pytest.approx(0)


@pytest.mark.parametrize(
    ("middle_base", "rotation_rad", "centre"),
    [((30.0, 0.0), pi / 2, (110, 100)), ((-30.0, 0.0), -pi / 2, (90, 100)), ((0.0, 30.0), pi, (100, 110))],
)
def test_the_region_turns_with_the_hand(
    middle_base: tuple[float, float], rotation_rad: float, centre: tuple[float, float]
) -> None:
    wrist = (-middle_base[0], -middle_base[1])
    row = (0.0, 0.0, 20.0, 20.0, *wrist, 0.0, 0.0, *middle_base)
    (palm,) = read_palms(*answer((600, 0.75, row)), SQUARE)
    turned = (palm.hand.rotation_rad - rotation_rad) % (2 * pi)
    assert min(turned, 2 * pi - turned) == pytest.approx(0, abs=1e-6)
    assert (palm.hand.centre_x_px, palm.hand.centre_y_px) == pytest.approx(centre)


def test_palms_are_placed_on_the_frame_that_the_square_shows() -> None:
    (palm,) = read_palms(*answer((600, 0.75, UPRIGHT)), Region(300, 50, 384))
    # Input 96 is 300 across and 50 down, and one pixel of input is two of the frame.
    assert palm.box_px == pytest.approx((268, 38, 348, 78))


def test_overlapping_anchors_melt_into_one_palm_weighted_by_score_under_the_best_score() -> None:
    # Anchor 601 has the centre of 600; its box is 8 px further right.
    moved = (8.0, 0.0, *UPRIGHT[2:])
    (palm,) = read_palms(*answer((600, 0.6, UPRIGHT), (601, 0.9, moved)), SQUARE)
    assert palm.score == pytest.approx(0.9)
    assert palm.box_px == pytest.approx((80 + 8 * 0.6, 90, 120 + 8 * 0.6, 110))


def test_doubtful_anchors_do_not_move_a_palm_and_are_none_beside_it() -> None:
    moved = (8.0, 0.0, *UPRIGHT[2:])
    (palm,) = read_palms(*answer((600, 0.9, UPRIGHT), (601, 0.4, moved)), SQUARE)
    assert palm.box_px == pytest.approx((80, 90, 120, 110))


def test_palms_apart_stay_apart_best_first() -> None:
    away = (60.0, 0.0, *UPRIGHT[2:])
    palms = read_palms(*answer((600, 0.6, UPRIGHT), (601, 0.9, away)), SQUARE)
    assert [palm.score for palm in palms] == pytest.approx([0.9, 0.6])


def test_a_palm_between_the_two_scores_is_doubtful_and_below_them_there_is_none() -> None:
    away = (60.0, 0.0, *UPRIGHT[2:])
    (palm,) = read_palms(*answer((600, 0.3, UPRIGHT), (601, 0.09, away)), SQUARE)
    assert palm.is_doubtful
    assert palm.look == Region(pytest.approx(100), pytest.approx(100), pytest.approx(8 * 40))


def test_boxes_without_size_and_numbers_that_are_not_finite_are_no_palms() -> None:
    rows, logits = answer((600, 0.9, (0.0, 0.0, 0.0, 20.0)), (700, 0.9, UPRIGHT), (800, 0.9, UPRIGHT))
    rows[700, 4], logits[800] = np.nan, np.nan
    assert read_palms(rows, logits, SQUARE) == []


def test_a_frame_full_of_palms_gives_a_bounded_number() -> None:
    rows, logits = np.zeros((2016, 18), np.float32), np.full(2016, 5, np.float32)
    rows[:, 2:4] = 4
    palms = read_palms(rows, logits, SQUARE)
    assert len(palms) == hands_palms.MAX_PALMS
    assert len(merge_palms([palms, palms])) == hands_palms.MAX_PALMS


def test_intersection_over_union_of_boxes() -> None:
    lows, highs = np.array([[0.0, 0], [5, 0], [20, 20]]), np.array([[10.0, 10], [15, 10], [30, 30]])
    shares = overlaps(lows, highs, np.array([0.0, 0]), np.array([10.0, 10]))
    assert shares.tolist() == pytest.approx([1, 50 / 150, 0])


def palm(score: float, left: float) -> Palm:
    return Palm(score, Region(0, 0, 1), Region(0, 0, 1), (left, 0, left + 10, 10))


def test_merged_looks_have_each_palm_once_the_first_look_s_before_and_no_doubtful_one() -> None:
    first = [palm(0.6, 0), palm(0.2, 100)]
    second = [palm(0.9, 1), palm(0.7, 100), palm(0.3, 200)]
    assert merge_palms([first, second]) == (first[0], second[1])
