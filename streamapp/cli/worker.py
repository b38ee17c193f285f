"""`streamapp worker`: Faust's own worker command on our app."""

import os
import sys

import click


@click.command(
    "worker",
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  streamapp worker
  STREAMAPP_BROKERS=kafka:9092 STREAMAPP_GROUP=moderation streamapp worker
  streamapp worker --without-web
  STREAMAPP_WEB_PORT=6067 streamapp worker      a second worker on the same machine
""",
)
@click.argument("faust_options", nargs=-1, type=click.UNPROCESSED)
def command(faust_options: tuple[str, ...]) -> None:
    """Moderate the pictures of events until SIGTERM or Ctrl-C.

    The same as `faust --quiet -A streamapp.worker worker`; FAUST_OPTIONS go on to it.
    """
    faust = [sys.executable, "-m", "faust", "--quiet", "--app", "streamapp.worker", "worker", *faust_options]
    # Replaced, not started: signals and the exit code are then the worker's own.
    os.execv(sys.executable, faust)
