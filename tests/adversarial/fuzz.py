"""Damaged files through the worker's decoder processes; `make fuzz`; one JSON line.

    cd tests && python -m adversarial.fuzz [--cases 20000] [--seed 1] [--case N]

A case is told by the seed and its number: its format, its seed file and what is changed in it follow from
them. It fails where the decoder crashes, or takes longer than a worker lets it; the file is then kept in the
folder for failures. `--case N` runs one case again and says what becomes of it.
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from adversarial.fuzz_seeds import SEEDS, seeds
from adversarial.mutations import mutated

from streamapp.errors import MediaError
from streamapp.media.limits import Limits
from streamapp.media.sandbox.pool import DecoderPool
from streamapp.reasons import Reason
from streamapp.settings import Settings

FORMATS = tuple(SEEDS)
FAILURES = (Reason.DECODER_CRASHED, Reason.DECODE_TIMEOUT)
FOLDER = Path(__file__).parents[2] / "build" / "fuzz"


def fuzzed(seed: int, number: int) -> bytes:
    """The file of one case."""
    random = Random(f"{seed}/{number}")
    content = random.choice(seeds(FORMATS[number % len(FORMATS)]))
    other = random.choice(seeds(random.choice(FORMATS)))
    return mutated(random, content, other)


@dataclass(slots=True)
class Tally:
    """What became of the cases of one format."""

    cases: int = 0
    decoded: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest_case: int = 0
    peak_mb: float = 0.0
    failed_cases: list[int] = field(default_factory=list)

    def add(self, number: int, reason: Reason | None, took_s: float) -> None:
        """Count one case; without a reason it was decoded."""
        self.cases += 1
        if reason is None:
            self.decoded += 1
        else:
            self.refused[reason] += 1
        if reason in FAILURES:
            self.failed_cases.append(number)
        if took_s * 1000 > self.slowest_ms:
            self.slowest_ms, self.slowest_case = took_s * 1000, number

    def figures(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "cases": self.cases,
            "decoded": self.decoded,
            "refused": dict(sorted(self.refused.items())),
            "slowest_ms": round(self.slowest_ms, 1),
            "slowest_case": self.slowest_case,
            "peak_mb": round(self.peak_mb, 1) or None,
            "failed_cases": self.failed_cases,
        }


def run(
    seed: int, cases: int, folder: Path, settings: Settings, loader: str | None = None
) -> dict[str, Tally]:
    """Run the cases 0 to ``cases``, format by format, each with decoder processes of its own.

    Args:
        folder: where the files of failed cases go; made when there is one.
        settings: the worker's, for the decoder's limits.
        loader: of another decoder than the worker's.
    """
    return {
        kind: _run_format(seed, range(place, cases, len(FORMATS)), folder, settings, loader)
        for place, kind in enumerate(FORMATS[:cases])
    }


def decode_one(pool: DecoderPool, content: bytes) -> tuple[MediaError | None, float]:
    """The error that a file ends with, None where it is decoded, and the seconds it took."""
    started_s = time.perf_counter()
    try:
        pool.decode(content)
    except MediaError as exc:
        return exc, time.perf_counter() - started_s
    return None, time.perf_counter() - started_s


def new_pool(settings: Settings, loader: str | None = None) -> DecoderPool:
    """Decoder processes as a worker has them."""
    options = {"loader": loader} if loader else {}
    return DecoderPool(
        Limits.from_settings(settings),
        decoders=settings.decode_threads,
        timeout_s=settings.decode_timeout_s,
        memory_mb=settings.decode_memory_mb,
        **options,
    )


def _run_format(
    seed: int, numbers: Iterable[int], folder: Path, settings: Settings, loader: str | None
) -> Tally:
    tally = Tally()
    with new_pool(settings, loader) as pool, ThreadPoolExecutor(settings.decode_threads) as threads:
        pool.wait_until_ready()
        _forget_peaks(pool)

        def one(number: int) -> tuple[int, bytes, MediaError | None, float]:
            content = fuzzed(seed, number)
            return number, content, *decode_one(pool, content)

        for number, content, error, took_s in threads.map(one, numbers):
            reason = error.reason if error else None
            tally.add(number, reason, took_s)
            tally.peak_mb = max(tally.peak_mb, *_peaks_mb(pool))
            if reason in FAILURES:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"seed-{seed}-case-{number}").write_bytes(content)
                print(f"case {number}: {error}", file=sys.stderr)
    return tally


def _peaks_mb(pool: DecoderPool) -> Iterator[float]:
    """The most resident memory that each of the processes had (proc(5)); 0 where the system does not say."""
    yield 0.0
    for pid in pool.pids:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            yield int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _forget_peaks(pool: DecoderPool) -> None:
    """Let the peaks begin anew: starting took more than most files do."""
    for pid in pool.pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and tell by the exit code whether a case failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (default: %(default)s)")
    parser.add_argument("--case", type=int, metavar="N", help="only this one, and what becomes of it")
    parser.add_argument("--failures", type=Path, default=FOLDER, help="folder for files of failed cases")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    if chosen.case is not None:
        return _replay(chosen.seed, chosen.case, settings)
    started_s = time.perf_counter()
    tallies = run(chosen.seed, chosen.cases, chosen.failures, settings)
    failed = sorted(number for tally in tallies.values() for number in tally.failed_cases)
    line = {
        "fuzz": "sniff, decode and key frames in decoder processes",
        "date": datetime.now(UTC).date().isoformat(),
        "seed": chosen.seed,
        "cases": sum(tally.cases for tally in tallies.values()),
        "decoded": sum(tally.decoded for tally in tallies.values()),
        "failed_cases": failed,
        "slowest_ms": round(max(tally.slowest_ms for tally in tallies.values()), 1),
        "limit_ms": settings.decode_timeout_s * 1000,
        "peak_mb": round(max(tally.peak_mb for tally in tallies.values()), 1),
        "limit_mb": settings.decode_memory_mb,
        "took_s": round(time.perf_counter() - started_s, 1),
        "formats": {kind: tally.figures() for kind, tally in tallies.items()},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("av", "pillow", "pillow-heif")},
    }
    print(json.dumps(line))
    return 1 if failed else 0


def _replay(seed: int, number: int, settings: Settings) -> int:
    with new_pool(settings) as pool:
        pool.wait_until_ready()
        error, took_s = decode_one(pool, fuzzed(seed, number))
    outcome = f"{error.reason}: {error}" if error else "decoded"
    print(f"seed {seed}, case {number}, {FORMATS[number % len(FORMATS)]}, {took_s * 1000:.1f} ms: {outcome}")
    return 1 if error and error.reason in FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())
