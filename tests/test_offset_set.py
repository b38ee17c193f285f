"""Sets of offsets, and the text in which they are kept."""

import base64
import random
import zlib

import pytest

from streamapp.offset_set import OffsetSet


def made_of(offsets: list[int]) -> OffsetSet:
    found = OffsetSet()
    for offset in offsets:
        found.add(offset)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_it_holds_what_was_added_in_any_order(seed: int) -> None:
    random_ = random.Random(seed)
    offsets = random_.choices(range(60), k=40)
    found = made_of(offsets)

    assert {offset for offset in range(-1, 61) if offset in found} == set(offsets)
    assert list(found) == list(made_of(sorted(offsets)))


@pytest.mark.parametrize("seed", range(20))
def test_two_sets_together_hold_what_both_hold(seed: int) -> None:
    random_ = random.Random(seed)
    one, other = random_.choices(range(60), k=20), random_.choices(range(60), k=20)

    assert made_of(one) | made_of(other) == made_of([*one, *other])


def test_neighbours_are_one_range() -> None:
    assert list(made_of([3, 5, 4, 9, 8, 3])) == [(3, 6), (8, 10)]


@pytest.mark.parametrize(("first", "end"), [(3, 6), (4, 6), (6, 6), (0, 0), (9, 10)])
def test_a_run_ends_at_the_first_offset_that_is_not_there(first: int, end: int) -> None:
    assert made_of([3, 4, 5, 9]).end_of_run(first) == end


@pytest.mark.parametrize("seed", range(20))
def test_the_text_gives_back_what_is_not_before_its_base(seed: int) -> None:
    random_ = random.Random(seed)
    offsets = random_.sample(range(10**9, 10**9 + 200), k=80)
    base = 10**9 + random_.randrange(200)
    found = OffsetSet.decoded(base, made_of(offsets).encoded(base))

    assert found == made_of([offset for offset in offsets if offset >= base])


def test_what_is_in_one_piece_needs_no_text() -> None:
    assert made_of([3, 4, 5]).encoded(6) == ""
    assert OffsetSet.decoded(6, "") == OffsetSet()


def test_two_thousand_scattered_offsets_fit_into_kafkas_metadata() -> None:
    random_ = random.Random(1)
    found = made_of(random_.sample(range(10_000), k=2_000))

    assert len(found.encoded(0)) < 4096


@pytest.mark.parametrize(
    "text",
    [
        "no text of ours",
        base64.b85encode(b"not compressed").decode(),
        base64.b85encode(zlib.compress(b"1-2")).decode(),
        base64.b85encode(zlib.compress(b"\xff")).decode(),
    ],
)
def test_a_text_of_someone_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        OffsetSet.decoded(0, text)
