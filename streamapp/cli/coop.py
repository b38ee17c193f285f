"""`streamapp coop`: learn the prompts of a tagger, test one, convert an old checkpoint."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from streamapp.cli.coop_clip import clip_options, open_clip
from streamapp.errors import StreamappError
from streamapp.local.display import make_console
from streamapp.logs import configure_logs
from streamapp.models.openmp import wait_without_spinning
from streamapp.policy import load_policy
from streamapp.settings import Settings, load_settings

if TYPE_CHECKING:
    from streamapp.coop.experiment import Plan

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER_OR_CSV = click.Path(exists=True, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(
    "coop",
    epilog="""\b
Examples:
  streamapp coop train pictures/ --output coop.safetensors
  streamapp coop evaluate coop.safetensors other-pictures/
  streamapp coop convert prompt_learner/model.pth.tar-50 coop.safetensors
""",
)
def command() -> None:
    """Learn the prompts of the CoOp tagger from a few pictures of each class, and test them.

    CLIP stays as it is; what is learnt is the context of its prompts, which folds into one small matrix.
    The worker uses it when STREAMAPP_COOP_WEIGHTS names the file.
    """
    wait_without_spinning()


@command.command(
    "train",
    epilog="""\b
Examples:
  streamapp coop train pictures/ --output coop.safetensors
  streamapp coop train pictures.csv --shots 4 --init "a photo of a" --seed 1
  streamapp coop train emoji/ --clip tiny --context 4 --learning-rate 0.02 --report report/
""",
)
@click.argument("source", type=FOLDER_OR_CSV, metavar="FOLDER|CSV")
@click.option("--shots", default=16, show_default=True, type=click.IntRange(1), help="Pictures of a class.")
@click.option(
    "--validation-shots",
    default=4,
    show_default=True,
    type=click.IntRange(1),
    help="More pictures of a class, by which training knows when to stop.",
)
@click.option("--context", type=click.IntRange(1), help="Context vectors (M). [default: 16]")
@click.option("--init", "words", metavar="WORDS", help="Start the context from words, one vector a token.")
@click.option("--class-specific", is_flag=True, help="A context for each class; pays with many shots only.")
@click.option("--epochs", type=click.IntRange(1), help="At most. [default: 50, 100 or 200, by the shots]")
@click.option(
    "--patience", default=40, show_default=True, type=click.IntRange(1), help="Epochs without gain."
)
@click.option(
    "--learning-rate",
    default=0.002,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Of SGD.",
)
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), help="Pictures in a step.")
@click.option("--views", default=8, show_default=True, type=click.IntRange(0), help="Crops of a picture.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of all that is drawn.")
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    default=("a photo of a {}.",),
    show_default=True,
    help="A hand-written prompt to compare with, {} for the class; give several for their mean.",
)
@click.option("--output", type=NEW_FILE, default="coop.safetensors", show_default=True, help="The export.")
@click.option("--report", type=NEW_FOLDER, help="Folder for the report. [default: beside the export]")
@clip_options("the setting coop_model")
def train(source: Path, output: Path, report: Path | None, **options: Any) -> None:
    """Learn prompts from labelled pictures: a folder for each class, or a CSV with the columns path,class.

    Of each class SHOTS pictures are learnt from, a few more decide when to stop, and the rest test the
    result beside hand-written prompts. Writes the export and a report with the confusion matrix. The
    worker takes an export that has exactly the policy's classes.
    """
    from streamapp.coop.display import ConsoleProgress
    from streamapp.coop.experiment import run_experiment
    from streamapp.coop.export import save_tagger
    from streamapp.coop.pictures import read_pictures
    from streamapp.coop.report import PICTURE_FILE, TEXT_FILE, headline, write_report

    configure_logs("WARNING")
    plan, console, settings = _plan(**options), make_console(), load_settings()
    report = report or output.with_name(f"{output.stem}-report")
    _require_writable(output.parent, report)
    pictures = read_pictures(source, _policy_classes(settings))
    clip = open_clip(settings, **options)
    outcome = run_experiment(clip, pictures, plan, ConsoleProgress(console))
    save_tagger(output, outcome.tagger)
    write_report(report, outcome)
    scores = outcome.scores
    console.print(f"Learnt prompts:       {headline(scores.learnt)}")
    console.print(f"They started from:    {headline(scores.started)}")
    console.print(f"Hand-written prompts: {headline(scores.hand_written)}")
    console.print(f"Wrote {output}, {report / TEXT_FILE} and {report / PICTURE_FILE}.", soft_wrap=True)


@command.command(
    "evaluate",
    epilog="""\b
Examples:
  streamapp coop evaluate coop.safetensors pictures/
  streamapp coop evaluate coop.safetensors pictures.csv --report report/
  streamapp coop evaluate coop.safetensors pictures/ --json | jq .accuracy
""",
)
@click.argument("export", type=FILE)
@click.argument("source", type=FOLDER_OR_CSV, metavar="FOLDER|CSV")
@click.option("--report", type=NEW_FOLDER, help="Folder for a report.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@clip_options("the one of the export")
def evaluate(
    export: Path, source: Path, report: Path | None, as_json: bool, clip_name: str | None, **options: Any
) -> None:
    """Test an export on labelled pictures, all of them."""
    import json

    from streamapp.coop.display import ConsoleProgress
    from streamapp.coop.evaluation import evaluate_tagger
    from streamapp.coop.export import load_tagger
    from streamapp.coop.pictures import read_pictures
    from streamapp.coop.report import headline, percent, score_values, write_test_report

    configure_logs("WARNING")
    console = Console(stderr=True) if as_json else make_console()
    tagger, pictures = load_tagger(export), read_pictures(source)
    if report is not None:
        _require_writable(report)
    clip = open_clip(load_settings(), clip_name=clip_name or tagger.clip_name, **options)
    score, unreadable = evaluate_tagger(clip, tagger, pictures, ConsoleProgress(console))
    if report is not None:
        write_test_report(report, tagger, score, str(source))
    if as_json:
        click.echo(json.dumps(score_values(score, tagger.classes), ensure_ascii=False))
        return
    for name, share in zip(tagger.classes, score.class_accuracy, strict=True):
        console.print(f"  {percent(share):>6}  {name}", markup=False)
    left_out = f"; {len(unreadable)} files could not be read" if unreadable else ""
    console.print(f"{headline(score)}{left_out}")


@command.command(
    "convert",
    epilog="""\b
Examples:
  streamapp coop convert prompt_learner/model.pth.tar-50 coop.safetensors
  streamapp coop convert model.pth.tar-50 coop.safetensors --clip ViT-B-32 --classes classes.txt
""",
)
@click.argument("checkpoint", type=FILE)
@click.argument("output", type=NEW_FILE)
@click.option(
    "--classes",
    "classes_file",
    type=FILE,
    help="The class names in the order of the training, one in each line. [default: the policy's classes]",
)
@clip_options("the setting coop_model")
def convert(checkpoint: Path, output: Path, classes_file: Path | None, **options: Any) -> None:
    """Fold a checkpoint of KaiyangZhou/CoOp, model.pth.tar-EPOCH, into an export.

    Nothing in the checkpoint is run. CLIP must be the one that it was trained on.
    """
    from streamapp.coop.export import save_tagger
    from streamapp.coop.folding import fold_checkpoint

    settings = load_settings()
    classes = _policy_classes(settings) if classes_file is None else _read_lines(classes_file)
    _require_writable(output.parent)
    tagger = fold_checkpoint(open_clip(settings, **options), checkpoint, classes)
    save_tagger(output, tagger)
    click.echo(f"Wrote {output}: {len(classes)} classes, {tagger.weights.shape[1]} numbers each.")


def _policy_classes(settings: Settings) -> list[str]:
    """The worker's classes, in the order that an export for it must have."""
    return [one.name for one in load_policy(settings.policy_file).taxonomy.classes]


def _read_lines(file: Path) -> list[str]:
    """The lines of a file that are not empty."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise StreamappError(f"{file} can't be read as UTF-8 text: {exc}.") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]


def _require_writable(*folders: Path) -> None:
    """Make the folders of what will be written, and fail before the work and not after it.

    Raises:
        StreamappError: one can't be written to.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as exc:
            raise StreamappError(
                f"{folder} can't be written to ({exc.strerror}): give another place."
            ) from exc


def _plan(
    *,
    shots: int,
    validation_shots: int,
    context: int | None,
    words: str | None,
    class_specific: bool,
    epochs: int | None,
    patience: int,
    learning_rate: float,
    batch: int,
    views: int,
    seed: int,
    prompts: tuple[str, ...],
    **clip_options: Any,
) -> "Plan":
    from streamapp.coop.experiment import Plan
    from streamapp.coop.training import Recipe, epochs_for

    if context is not None and words is not None:
        raise click.UsageError("--init gives as many context vectors as it has tokens: leave --context away.")
    missing = [prompt for prompt in prompts if "{}" not in prompt]
    if missing:
        raise click.UsageError(f"The prompt {missing[0]!r} has no {{}} for the class.")
    recipe = Recipe(
        context_tokens=context or 16,
        words=words,
        is_class_specific=class_specific,
        epochs=epochs or epochs_for(shots),
        learning_rate=learning_rate,
        batch_pictures=batch,
        patience_epochs=patience,
        seed=seed,
    )
    return Plan(
        shots=shots,
        validation_shots=validation_shots,
        recipe=recipe,
        views=views,
        hand_written=prompts,
    )
