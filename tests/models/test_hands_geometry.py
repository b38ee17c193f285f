from math import pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.models.hands_geometry import Region, cut, whole


def test_a_region_that_is_the_picture_leaves_its_points_where_they_are() -> None:
    points = np.array([[0.0, 0.0], [100.0, 30.0], [192.0, 192.0]])
    np.testing.assert_allclose(Region(96, 96, 192).place(points, 192), points, atol=1e-9)


def test_the_whole_picture_stands_in_the_middle_of_its_square() -> None:
    # 400 x 100: the square begins 150 px above the picture, and 192 px of input are 400 of the picture.
    placed = whole(400, 100).place(np.array([[0.0, 0.0], [96.0, 96.0], [192.0, 192.0]]), 192)
    np.testing.assert_allclose(placed, [[0, -150], [200, 50], [400, 250]], atol=1e-9)


def test_a_region_turned_clockwise_by_a_quarter_has_its_top_on_the_right() -> None:
    top_middle = np.array([[50.0, 0.0]])
    np.testing.assert_allclose(Region(10, 20, 8, pi / 2).place(top_middle, 100), [[14, 20]], atol=1e-9)


@given(
    centre=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    side=st.floats(1, 3000),
    rotation=st.floats(-pi, pi),
)
def test_corners_lie_half_a_diagonal_from_the_centre_and_the_middle_on_it(
    centre: tuple[float, float], side: float, rotation: float
) -> None:
    region = Region(*centre, side, rotation)
    middle, *corners = region.place(np.array([[112.0, 112], [0, 0], [224, 0], [224, 224], [0, 224]]), 224)
    np.testing.assert_allclose(middle, centre, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(corners - middle, axis=1), side / 2**0.5, rtol=1e-9)


def test_what_is_cut_out_is_where_the_region_says() -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[100:200, 150:170] = (255, 0, 51)
    # Turned by a quarter, the upright bar lies across the middle of the input.
    lying = cut(picture, Region(160, 150, 100, pi / 2), 100, repeat_edges=False)
    assert lying.dtype == np.float32 and lying.shape == (100, 100, 3)
    np.testing.assert_allclose(lying[45:55, 2:98], np.broadcast_to([1.0, 0.0, 0.2], (10, 96, 3)), atol=1e-6)
    assert not lying[:35].any() and not lying[65:].any()


@pytest.mark.parametrize(("repeat_edges", "beyond"), [(True, 1.0), (False, 0.0)])
def test_beyond_the_picture_it_is_black_or_like_the_edge(repeat_edges: bool, beyond: float) -> None:
    white = np.full((10, 10, 3), 255, np.uint8)
    wide = cut(white, Region(5, 5, 100), 100, repeat_edges=repeat_edges)
    assert (wide[50, 50] == 1.0).all()
    assert (wide[0, 0] == beyond).all() and (wide[99, 99] == beyond).all()
