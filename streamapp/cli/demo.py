"""`streamapp demo`: everything on this machine, in one command."""

import asyncio
import logging
from pathlib import Path

import click

from streamapp.errors import StreamappError
from streamapp.local.demo import run_demo
from streamapp.local.display import make_console
from streamapp.logs import FORMAT


@click.command(
    "demo",
    epilog="""\b
Examples:
  streamapp demo
  streamapp demo --folder /tmp/demo --timeout 60
""",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Where logs, rows.jsonl and report.html go.",
)
@click.option(
    "--models",
    default="nudenet,mfd,clip,coop",
    show_default=True,
    help="Models that are on, comma-separated. CLIP and CoOp are the tiny one in the package.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=180.0,
    show_default=True,
    help="Longest time in seconds until the last outcome.",
)
def command(folder: Path, models: str, timeout_s: float) -> None:
    """Run broker, worker and some forty events on this machine, and check every outcome.

    Starts an embedded broker, serves sample pictures on loopback, starts a real worker and sends it
    ordinary pictures and every kind of trouble. No picture leaves the machine, nothing keeps running.
    The tiny CLIP was trained on emoji: its categories of photos show the way, and mean little.
    Exits with 1 if any outcome is not the expected one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=folder / "demo.log", filemode="w", format=FORMAT, force=True)
    except OSError as exc:
        raise StreamappError(f"The folder {folder} can't be written: {exc}.") from exc
    console = make_console()
    is_as_expected = asyncio.run(run_demo(folder, console, models=models, timeout_s=timeout_s))
    raise SystemExit(0 if is_as_expected else 1)
