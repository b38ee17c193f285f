import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.models.hands_geometry import Tensor
from streamapp.models.hands_gesture import middle_finger_scores

INDEX, MIDDLE, RING, LITTLE = range(4)


def hand(*straight: int, bend_deg: float = 160.0) -> Tensor:
    """Landmarks of an upright hand: these fingers straight, the others bent so far over two joints."""
    points = np.zeros((21, 3), np.float32)
    points[0] = (112, 200, 0)
    for finger in range(4):
        direction_deg, joint = 0.0, np.array([90.0 + 15 * finger, 120, 0])
        points[5 + 4 * finger] = joint
        for bone in range(3):
            direction_deg += 0 if finger in straight or bone == 0 else bend_deg / 2
            turn = np.radians(direction_deg)
            joint = joint + np.array([0, -20 * np.cos(turn), -20 * np.sin(turn)])
            points[6 + 4 * finger + bone] = joint
    return points


def score(landmarks: Tensor) -> float:
    return float(middle_finger_scores(landmarks[np.newaxis])[0])


def test_a_straight_middle_finger_among_bent_ones_scores_high() -> None:
    assert score(hand(MIDDLE)) > 0.9


@pytest.mark.parametrize(
    "straight",
    [(), (INDEX,), (LITTLE,), (INDEX, MIDDLE), (MIDDLE, RING), (MIDDLE, LITTLE), (INDEX, LITTLE), range(4)],
)
def test_every_other_gesture_scores_near_zero(straight: tuple[int, ...]) -> None:
    assert score(hand(*straight)) < 0.01


def test_the_score_is_the_product_of_its_three_steps() -> None:
    # Others bent by 2 x 37.5 degrees: that step is half way. Their chord is 20 * |1 + e^i37.5 + e^i75|.
    landmarks = hand(MIDDLE, bend_deg=75.0)
    chord = abs(1 + np.exp(1j * np.radians(37.5)) + np.exp(1j * np.radians(75.0))) / 3
    straight = 1 / (1 + np.exp((0 - 70) / 10))
    shorter = 1 / (1 + np.exp((chord - 0.70) / 0.05))
    assert score(landmarks) == pytest.approx(straight * 0.5 * shorter, rel=1e-4)


def test_one_other_finger_that_is_hardly_bent_is_enough_against_it_however_short() -> None:
    landmarks = hand(MIDDLE)
    landmarks[17:21] = landmarks[17] - np.outer(range(4), (0, 5, 0))
    assert score(landmarks) < 0.01


def test_where_the_thumb_is_does_not_matter() -> None:
    thumb_out = hand(MIDDLE)
    thumb_out[1:5] = [(60 - 10 * joint, 150, 5) for joint in range(4)]
    assert score(thumb_out) == score(hand(MIDDLE))


@given(angle=st.floats(-3.1, 3.1), size=st.floats(0.3, 3))
def test_turning_scaling_and_mirroring_a_hand_keep_its_score(angle: float, size: float) -> None:
    landmarks = hand(MIDDLE, bend_deg=100.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = (landmarks @ turn.T * size * (-1, 1, 1) + (30, -20, 0)).astype(np.float32)
    assert score(moved) == pytest.approx(score(landmarks), abs=1e-3)


def test_hands_are_scored_each_by_itself() -> None:
    scores = middle_finger_scores(np.stack([hand(MIDDLE), hand(INDEX), hand(MIDDLE)]))
    assert scores.tolist() == [score(hand(MIDDLE)), score(hand(INDEX)), score(hand(MIDDLE))]
    assert middle_finger_scores(np.empty((0, 21, 3), np.float32)).shape == (0,)


def test_landmarks_in_one_point_show_nothing() -> None:
    assert score(np.full((21, 3), 7, np.float32)) < 0.01
