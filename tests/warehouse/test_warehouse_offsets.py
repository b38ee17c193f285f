"""Sets of offsets: held against sets of Python's own."""

from hypothesis import given
from hypothesis import strategies as st

from streamapp.offset_set import OffsetSet
from streamapp.warehouse.offsets import count, gather, minus, told

Plain = dict[int, set[int]]
PLAIN = st.dictionaries(st.integers(0, 2), st.sets(st.integers(0, 30)))


def offset_sets(plain: Plain) -> dict[int, OffsetSet]:
    made = {number: OffsetSet() for number in plain}
    for number, offsets in plain.items():
        for offset in offsets:
            made[number].add(offset)
    return made


def plainly(offsets: dict[int, OffsetSet]) -> Plain:
    return {
        number: {offset for first, end in one for offset in range(first, end)}
        for number, one in offsets.items()
    }


@given(PLAIN, PLAIN, PLAIN)
def test_minus_leaves_what_none_of_the_others_has(wanted: Plain, first: Plain, second: Plain) -> None:
    left = minus(offset_sets(wanted), offset_sets(first), offset_sets(second))

    expected = {n: one - first.get(n, set()) - second.get(n, set()) for n, one in wanted.items()}
    assert plainly(left) == {number: one for number, one in expected.items() if one}
    assert count(left) == sum(map(len, expected.values()))
    # The ranges ascend and do not touch, as the next comparison needs them.
    assert left == offset_sets(plainly(left))


def test_ranges_of_rows_become_sets() -> None:
    assert plainly(gather([(0, 1, 3), (2, 0, 1), (0, 5, 6)])) == {0: {1, 2, 5}, 2: {0}}


def test_offsets_are_told_by_range_and_the_rest_is_counted() -> None:
    offsets = offset_sets({2: {101, 102, 103}, 0: {7}, 3: {1, 3, 5}})
    assert told("results", offsets, most=10) == (
        "results[0]@7, results[2]@101-103, results[3]@1, results[3]@3, results[3]@5"
    )
    assert told("results", offsets, most=2) == "results[0]@7, results[2]@101-103 and 3 more ranges"
