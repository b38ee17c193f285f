"""Every case of the table by the worker's own way: the guard, the downloader, the decoder processes."""

from collections.abc import Iterator

import aiohttp.connector
import pytest
from adversarial.cases import Case
from adversarial.certificates import trusted
from adversarial.table import CASES, PAGE, page
from adversarial.worker import Worker

from streamapp.reasons import Reason, Status

# Given by models, about which this suite says nothing.
_OF_MODELS = (Status.MODEL_RAISED, Status.SWITCHED_OFF)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def trusted_authority() -> Iterator[None]:
    """The HTTP client trusts the suite's certificates, so that one that is in order passes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusted())
        yield


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_case_ends_as_the_table_says_and_reaches_nothing_else(case: Case, worker: Worker) -> None:
    outcome = await worker.outcome(case)

    assert (outcome.status, outcome.reason) == (case.status, case.reason), outcome.error
    assert outcome.escapes == []


def test_no_two_cases_have_one_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 120
    assert len(set(names)) == len(names)


def test_every_reason_of_fetching_and_decoding_is_the_outcome_of_a_case() -> None:
    expected = {reason for reason in Reason if reason.status not in _OF_MODELS}
    assert {case.reason for case in CASES if case.reason} == expected


def test_the_published_table_is_that_of_the_code() -> None:
    assert PAGE.read_text("utf-8") == page(), "Run `make docs`."
