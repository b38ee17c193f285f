"""What stays for as long as the worker is not looked through by garbage collections."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from streamapp.app import keep_what_is_loaded


class Node:
    """An object that only a garbage collection can end, once it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_loaded_is_left_out_of_garbage_collections() -> None:
    loaded = Node()
    assert any(found is loaded for found in gc.get_objects())

    keep_what_is_loaded()

    assert not any(found is loaded for found in gc.get_objects())


def test_garbage_of_the_start_is_not_kept_with_it() -> None:
    garbage = weakref.ref(Node())

    keep_what_is_loaded()

    assert garbage() is None


def test_garbage_that_comes_later_is_collected_as_ever() -> None:
    keep_what_is_loaded()
    garbage = weakref.ref(Node())

    gc.collect()

    assert garbage() is None
    assert gc.isenabled()
