"""Plays the chaos suite (`make chaos`), all of it or some cases.

Each case writes a line to build/chaos.json; the workers' logs are in build/chaos. Ends with 1 where something
did not hold.

    PYTHONPATH=tests:tests/end_to_end python -m chaos [CASE…] [--rounds 5] [--broker embedded] [--real-model]
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.arena import Broker
from chaos.cases import BY_NAME, CASES, REAL_MODEL, Case
from chaos.rounds import Round
from chaos.suite import play, summary

from streamapp.local.broker import EmbeddedBroker
from streamapp.local.kafka.broker import KafkaBroker

BUILD = Path("build")


def main() -> int:
    """Play what is asked for; the exit code."""
    arguments = _arguments()
    # It says at every request that the broker is away, which is the case.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    cases = [BY_NAME[name] for name in arguments.cases] or list(CASES)
    folder = (BUILD / "chaos").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    broker: Broker = EmbeddedBroker() if arguments.broker == "embedded" else KafkaBroker(folder / "kafka")
    with broker, arguments.report.open("w") as report:
        lines = []
        for case in cases:
            lines.append(_line(case, broker, folder / case.name, arguments))
            print(json.dumps(lines[-1]), file=report, flush=True)
    return int(any(line.get("failures") for line in lines))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all, or some of: {', '.join(BY_NAME)}")
    parser.add_argument("--rounds", type=int, help="of each case, in place of the table's")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--real-model", action="store_true", help="NudeNet in place of a stand-in")
    parser.add_argument("--report", type=Path, default=BUILD / "chaos.json")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(BY_NAME)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    return arguments


def _line(case: Case, broker: Broker, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Play one case; what ends it too early is a failure of it, and of no other."""
    facts = {"broker": arguments.broker, "model": "nudenet" if arguments.real_model else "stand-in"}
    if isinstance(broker, EmbeddedBroker) and case.only_kafka:
        print(f"{case.name}: not on the embedded broker: {case.only_kafka}", flush=True)
        return {"case": case.name, **facts, "not_played": case.only_kafka}
    rounds = arguments.rounds or case.rounds
    played: list[Round] = []
    ended_by = []
    try:
        asyncio.run(
            play(
                case,
                broker,
                folder,
                rounds=rounds,
                variables=REAL_MODEL if arguments.real_model else {},
                on_round=lambda one: _tell(case, one, played),
            )
        )
    except Exception:
        ended_by = [f"After {len(played)} of {rounds} rounds:\n{traceback.format_exc()}"]
    line = summary(case, played) if played else {"case": case.name, "title": case.title, "failures": []}
    line["failures"] += ended_by
    _print_failures(line["failures"])
    return line | facts


def _tell(case: Case, one: Round, played: list[Round]) -> None:
    played.append(one)
    print(f"{case.name}: {json.dumps(one.line)}", flush=True)
    _print_failures(one.failures)


def _print_failures(failures: Sequence[str]) -> None:
    for failure in failures:
        print(f"  FAILED: {failure}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
