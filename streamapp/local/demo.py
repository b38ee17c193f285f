"""The one-command run: broker, pictures, a real worker, events, and a verdict on each outcome."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from streamapp.errors import StreamappError
from streamapp.local.broker import EmbeddedBroker, free_port
from streamapp.local.demo_cases import DemoCase, ExpectedNothing, demo_cases
from streamapp.local.display import counted, step
from streamapp.local.outcomes import Outcome, OutcomeReader, wait_until_committed
from streamapp.local.pictures import HOST, PictureServer
from streamapp.local.processes import ChildProcess
from streamapp.local.report import write_report
from streamapp.local.sending import send_values
from streamapp.local.summary import CaseResult, check_line, results_table, summary_line
from streamapp.models.store import Store, needed_artifacts
from streamapp.policy import DEFAULT_FILE
from streamapp.records import SourcePosition
from streamapp.settings import Settings
from streamapp.topics import ensure_topics

DEMO_MODELS = "nudenet,mfd,clip,coop"
_COMMIT_TIMEOUT_S = 20.0
_WORKER_STOP_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What the demo measured.

    Attributes:
        results: every event, in the order sent.
        total_s: seconds from the first event sent until all is committed.
        repeats: outcomes that came more than once.
    """

    results: list[CaseResult]
    total_s: float
    repeats: int

    @property
    def is_as_expected(self) -> bool:
        return not any(result.differences for result in self.results)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What runs while the events do."""

    settings: Settings
    server: PictureServer
    reader: OutcomeReader
    worker: ChildProcess

    def check_worker(self) -> None:
        """Make sure that the worker still runs.

        Raises:
            StreamappError: it ended; with the end of its log.
        """
        if not self.worker.is_running:
            raise StreamappError(
                f"The worker ended (exit code {self.worker.exit_code}):\n{self.worker.log_tail()}"
            )


async def run_demo(
    folder: Path, console: Console, *, models: str = DEMO_MODELS, timeout_s: float = 180.0
) -> bool:
    """Run the demo and leave logs, rows.jsonl and report.html in `folder`.

    1. Start the embedded broker, create the topics, serve the pictures.
    2. Start a worker process and send the events.
    3. Wait for every outcome, and until the worker has committed past every event.
    4. Print the table; write the rows and the report.

    Args:
        folder: created if need be; an earlier run's files are overwritten.
        console: for progress and the table.
        models: as in STREAMAPP_MODELS.
        timeout_s: from the worker's start to the last outcome.

    Returns:
        Whether every outcome is the expected one.

    Raises:
        StreamappError: something did not start, or the worker ended.
    """
    folder = folder.resolve()
    for stale in (folder / "rows.jsonl", folder / "report.html"):
        stale.unlink(missing_ok=True)
    async with AsyncExitStack() as stack:
        with step(console, "make the pictures"):
            cases = await asyncio.to_thread(demo_cases)
        with step(console, "start the embedded broker"):
            # Not in a thread: a Ctrl-C would leave it, and the broker would start after our clean-up.
            broker = stack.enter_context(EmbeddedBroker(log_file=folder / "broker.log"))
            values = _settings(broker.bootstrap_servers, models, _write_policy(folder))
            settings = Settings.model_validate(values)
            await ensure_topics(settings)
        with step(console, "find the model files, or fetch them"):
            await asyncio.to_thread(_fetch_missing, settings)
        server = await stack.enter_async_context(_picture_server(cases))
        reader = await stack.enter_async_context(OutcomeReader(settings))
        worker = _worker(values, folder)
        stack.push_async_callback(_stop, worker)
        worker.start()
        cluster = _Cluster(settings, server, reader, worker)
        run = await _run_cases(cases, cluster, console, timeout_s)
        with step(console, "stop the worker"):
            await _stop(worker)
    _report(run, folder, console)
    return run.is_as_expected


def _report(run: DemoRun, folder: Path, console: Console) -> None:
    console.print(results_table(run.results))
    for result in run.results:
        for difference in result.differences:
            console.print(f"[red]✗[/] {escape(result.case.title)}: {escape(difference)}")
    rows = [
        result.outcome.value
        for result in run.results
        if result.outcome is not None and result.row is not None
    ]
    (folder / "rows.jsonl").write_bytes(b"".join(row + b"\n" for row in rows))
    summary = summary_line(run.results, run.total_s, run.repeats)
    write_report(folder / "report.html", run.results, summary)
    colour = "green" if run.is_as_expected else "red"
    console.print(f"\n{summary}. [bold {colour}]{check_line(run.results)}[/]")
    console.print(f"Rows: {folder / 'rows.jsonl'}\nReport: {folder / 'report.html'}", soft_wrap=True)


def _write_policy(folder: Path) -> Path:
    """The package's policy with CLIP in the shadow: what a CLIP of emoji says of photos must not count."""
    text = DEFAULT_FILE.read_text("utf-8")
    shadowed = text.replace("  clip:\n    mode: enforce", "  clip:\n    mode: shadow", 1)
    if shadowed == text:
        raise StreamappError(f"{DEFAULT_FILE} has no CLIP to put in the shadow. This is a bug.")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "policy.yaml"
    file.write_text(shadowed, "utf-8")
    return file


def _fetch_missing(settings: Settings) -> None:
    store = Store(settings)
    for name in needed_artifacts(settings):
        store.fetch(name)


def _settings(bootstrap_servers: str, models: str, policy_file: Path) -> dict[str, str]:
    """The demo's settings by their field: a small cluster, quick rebalances, few retries."""
    return {
        "brokers": bootstrap_servers,
        "events_topic": "modify_user",
        "results_topic": "moderation_results",
        "dead_letter_topic": "modify_user-dead-letters",
        "group": "streamapp-demo",
        "topic_partitions": "4",
        "topic_replication_factor": "1",
        "models": models,
        "clip_model": "tiny",
        "coop_model": "tiny",
        "policy_file": str(policy_file),
        "allow_private_hosts": HOST,
        "session_timeout_s": "6",
        "rebalance_timeout_s": "3",
        "drain_timeout_s": "5",
        "download_attempts": "2",
        "retry_base_s": "0.1",
        "web_port": str(free_port()),
    }


def _picture_server(cases: Sequence[DemoCase]) -> PictureServer:
    pictures = {case.path: case.content for case in cases if case.path and case.content is not None}
    redirects = {case.path: case.redirect_to for case in cases if case.redirect_to is not None}
    return PictureServer(pictures, redirects=redirects)


def _worker(values: Mapping[str, str], folder: Path) -> ChildProcess:
    """A real worker process; it runs in the demo's folder, so that no .env of the caller is read."""
    environment = {name: value for name, value in os.environ.items() if _is_passed_on(name)}
    environment |= {f"STREAMAPP_{name.upper()}": value for name, value in values.items()}
    environment["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-m", "faust", "-A", "streamapp.worker", "worker"]
    return ChildProcess(
        "worker",
        command,
        log_file=folder / "worker.log",
        environment=environment,
        folder=folder,
        stop_grace_s=_WORKER_STOP_GRACE_S,
    )


def _is_passed_on(variable: str) -> bool:
    """Of the caller's streamapp settings only the model cache: a cluster's would break the demo."""
    return not variable.upper().startswith("STREAMAPP_") or variable.upper() == "STREAMAPP_MODEL_CACHE"


async def _run_cases(
    cases: Sequence[DemoCase], cluster: _Cluster, console: Console, timeout_s: float
) -> DemoRun:
    clock = asyncio.get_running_loop().time
    started = clock()
    with step(console, f"send {len(cases)} events"):
        values = [case.record_value(cluster.server.url_of) for case in cases]
        sources = [source async for _, source in send_values(cluster.settings, values)]
    of_source = dict(zip(sources, cases, strict=True))
    outcomes = await _collect(of_source, cluster, console, timeout_s)
    with step(console, "wait until every event is committed"):
        left = await wait_until_committed(cluster.settings, sources, timeout_s=_COMMIT_TIMEOUT_S)
    total_s = clock() - started
    # What the worker published lies before its commit. So whatever is still to be read is a repeat, or
    # the record of an event that must have none.
    for outcome in await cluster.reader.read(0.5):
        outcomes[outcome.source].append(outcome)
    results = [
        CaseResult(case, outcomes[source][0] if outcomes[source] else None, source not in left)
        for source, case in of_source.items()
    ]
    return DemoRun(results, total_s, sum(max(0, len(found) - 1) for found in outcomes.values()))


async def _collect(
    of_source: Mapping[SourcePosition, DemoCase], cluster: _Cluster, console: Console, timeout_s: float
) -> dict[SourcePosition, list[Outcome]]:
    """Wait for the first outcome of each event that must have one; returns all that came."""
    outcomes: dict[SourcePosition, list[Outcome]] = {source: [] for source in of_source}
    wanted = {source for source, case in of_source.items() if not isinstance(case.expected, ExpectedNothing)}
    with counted(console, "worker starts, then moderates", len(wanted)) as count_one:

        def on_outcome(outcome: Outcome) -> None:
            outcomes[outcome.source].append(outcome)
            if outcome.source in wanted and len(outcomes[outcome.source]) == 1:
                count_one()

        await cluster.reader.collect(
            wanted, timeout_s=timeout_s, on_outcome=on_outcome, check=cluster.check_worker
        )
    return outcomes


async def _stop(process: ChildProcess) -> None:
    # In a thread, because the worker still wants answers from our picture server while it drains.
    await asyncio.shield(asyncio.to_thread(process.stop))
