"""The command line: ``python -m training.tiny_clip --help``."""

from pathlib import Path

import click

from streamapp.models.tiny_clip import FOLDER

DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="TINY_CLIP_DATA",
    default=Path("build/tiny-clip"),
    show_default=True,
    help="Folder for the packages and the rendered pictures.",
)
RUN = click.option(
    "--run",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/tiny-clip/run"),
    show_default=True,
    help="Folder for the checkpoint, the account and the export of one training.",
)


def say(line: str) -> None:
    """Print one line at once, so that a log shows where a long run stands."""
    click.echo(line)


@click.group(help=__doc__)
def main() -> None:
    """Group the steps."""


@main.command()
@DATA
def fetch(data: Path) -> None:
    """Fetch the pinned emoji packages with npm and check their digests."""
    from training.tiny_clip.fetch_data import fetch_all

    fetch_all(data, say)


@main.command()
@DATA
def build(data: Path) -> None:
    """Render the fetched art to small pictures."""
    from training.tiny_clip.build_data import build as build_pictures

    build_pictures(data, say)


@main.command()
@DATA
@RUN
@click.option("--steps", default=9000, show_default=True, help="Most steps.")
@click.option(
    "--minutes",
    default=58.0,
    show_default=True,
    help="Most minutes by the clock, those before a break included.",
)
@click.option("--threads", default=1, show_default=True, help="Torch's threads; one more makes the batches.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn at random.")
def train(data: Path, run: Path, steps: int, minutes: float, threads: int, seed: int) -> None:
    """Train, or go on with a run that was broken off."""
    import torch

    from training.tiny_clip.train import Plan, Training

    # The whole process has these, so that they are not Training's to set.
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    Training(data, run, Plan(steps=steps, minutes=minutes, threads=threads, seed=seed), say).train()


@main.command()
@DATA
@click.option(
    "--export",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=FOLDER,
    help="Folder with config, vocabulary and weights; those that ship, if not given.",
)
def evaluate(data: Path, export: Path) -> None:
    """Test an export zero-shot on art that it has never seen."""
    from training.tiny_clip.evaluate import Evaluation

    Evaluation(data, export).report(say)


@main.command()
@DATA
@RUN
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default=FOLDER, help="Where to put it."
)
def ship(data: Path, run: Path, folder: Path) -> None:
    """Test a run's export and put it, with its report and sources, into the package."""
    from training.tiny_clip.ship import ship as ship_export

    ship_export(data, run, folder, say)


@main.command(name="all")
@DATA
@RUN
@click.pass_context
def run_all(context: click.Context, data: Path, run: Path) -> None:
    """Do it all: fetch, build, train and ship. About an hour; a training that was broken off goes on."""
    context.invoke(fetch, data=data)
    context.invoke(build, data=data)
    context.invoke(train, data=data, run=run)
    context.invoke(ship, data=data, run=run)


if __name__ == "__main__":
    main()
