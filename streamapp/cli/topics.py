"""`streamapp topics`: create what is missing, show what there is."""

import asyncio

import click
from rich.table import Table

from streamapp.local.display import make_console
from streamapp.settings import load_settings
from streamapp.topics import ensure_topics


@click.command(
    "topics",
    epilog="""\b
Examples:
  streamapp topics
  streamapp topics --dry-run
  STREAMAPP_TOPIC_PARTITIONS=48 STREAMAPP_TOPIC_REPLICATION_FACTOR=3 streamapp topics
""",
)
@click.option("--dry-run", is_flag=True, help="Only show what there is; create nothing.")
def command(dry_run: bool) -> None:
    """Create the topics that are missing and show all three.

    A topic that exists is never changed. Exits with 1 where one is missing after all.
    """
    settings = load_settings()
    states = asyncio.run(ensure_topics(settings, create=not dry_run))
    table = Table()
    table.add_column("topic", overflow="fold")
    table.add_column("for", no_wrap=True)
    table.add_column("partitions", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for state in states:
        if state.is_new:
            what = "created"
        elif not state.partitions:
            what = "missing"
        elif state.partitions != settings.topic_partitions:
            what = f"exists; the setting says {settings.topic_partitions}"
        else:
            what = "exists"
        table.add_row(state.name, state.role, str(state.partitions), what)
    make_console().print(table)
    if not all(state.partitions for state in states):
        raise SystemExit(1)
