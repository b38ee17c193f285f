"""A short run of `make fuzz`, and that such a run sees a decoder that crashes."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from adversarial.fuzz import FORMATS, decode_one, fuzzed, main, new_pool, run
from adversarial.fuzz_seeds import seeds

from streamapp.errors import FetchError
from streamapp.fetch.guard import Rules, check_url
from streamapp.reasons import Reason
from streamapp.settings import Settings


def test_every_seed_decodes() -> None:
    with new_pool(Settings()) as pool:
        pool.wait_until_ready()
        assert {kind: [decode_one(pool, seed)[0] for seed in seeds(kind)] for kind in FORMATS} == {
            kind: [None] * len(seeds(kind)) for kind in FORMATS
        }


def test_a_thousand_damaged_files_neither_crash_a_decoder_nor_hold_it_up(tmp_path: Path) -> None:
    settings = Settings()
    tallies = run(seed=2, cases=1000, folder=tmp_path, settings=settings)

    assert sum(tally.cases for tally in tallies.values()) == 1000
    assert {kind: tally.failed_cases for kind, tally in tallies.items()} == {kind: [] for kind in FORMATS}
    assert max(tally.peak_mb for tally in tallies.values()) < settings.decode_memory_mb
    # Else the files would be too broken to get anywhere.
    assert all(tally.decoded for tally in tallies.values())
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_damaged_urls_are_urls_or_refused() -> None:
    random = Random(1)
    parts = [
        "[",
        "]",
        "@",
        ":",
        "::",
        "/",
        "\\",
        "#",
        "?",
        "%",
        "%00",
        ".",
        "127.0.0.1",
        "cdn.example",
        "é",
        "\uff11",
    ]
    for _ in range(10_000):
        with suppress(FetchError):
            checked = check_url("http://" + "".join(random.choices(parts, k=random.randint(1, 8))), Rules())
            # What was checked is what is asked for.
            assert check_url(str(checked), Rules()) == checked


def test_a_case_is_the_same_file_every_time() -> None:
    files = [fuzzed(1, number) for number in range(50)]
    assert files == [fuzzed(1, number) for number in range(50)]
    assert len(set(files)) == 50


def test_a_decoder_that_crashes_fails_the_run_and_leaves_the_file(tmp_path: Path) -> None:
    tallies = run(3, 1, tmp_path, Settings(), loader="adversarial.failing_decoders:segfaulting")

    assert tallies[FORMATS[0]].failed_cases == [0]
    assert tallies[FORMATS[0]].refused == {Reason.DECODER_CRASHED: 1}
    assert (tmp_path / "seed-3-case-0").read_bytes() == fuzzed(3, 0)


def test_one_case_can_be_run_again_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "2", "--case", "14"]) == 0
    assert capsys.readouterr().out.startswith("seed 2, case 14, jpeg, ")
