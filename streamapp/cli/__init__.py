"""The `streamapp` command. Each sub-command lives in a module of its own, imported when it is called."""

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from streamapp import __version__
from streamapp.errors import StreamappError

# Command → the module in this package that defines it, as `command`. In the order of --help.
COMMANDS = {
    "worker": "worker",
    "moderate": "moderate",
    "fetch": "fetch",
    "send": "send",
    "results": "results",
    "dead-letters": "dead_letters",
    "backfill": "backfill",
    "compare": "compare",
    "connect": "connect",
    "warehouse": "warehouse",
    "topics": "topics",
    "broker": "broker",
    "settings": "settings",
    "policy": "policy",
    "models": "models",
    "coop": "coop",
    "plan": "plan",
    "doctor": "doctor",
    "demo": "demo",
}


class _LazyGroup(click.Group):
    """Imports a sub-command only when it is asked for, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"streamapp.cli.{COMMANDS[cmd_name]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="streamapp")
def group() -> None:
    """Real-time moderation of profile pictures on Kafka.

    Settings come from the environment (STREAMAPP_…) and from the file .env in the current folder;
    `streamapp settings` shows them all.
    """


def main() -> NoReturn:
    """Run the command line; an error of ours is one line on stderr and exit code 1."""
    try:
        group.main(standalone_mode=False)
    except StreamappError as exc:
        click.echo(f"streamapp: {exc}", err=True)
        raise SystemExit(1) from exc
    except click.ClickException as exc:
        exc.show()
        raise SystemExit(exc.exit_code) from exc
    except click.Abort as exc:
        raise SystemExit(130) from exc
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): end as quietly as any program does then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    raise SystemExit(0)
