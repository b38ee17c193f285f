"""What a training or a test says of itself: ``report.json``, ``report.md`` and ``confusion.png``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streamapp import __version__
from streamapp.coop.confusion import draw_confusion
from streamapp.coop.experiment import Outcome
from streamapp.coop.export import Tagger
from streamapp.coop.scoring import Score

JSON_FILE, TEXT_FILE, PICTURE_FILE = "report.json", "report.md", "confusion.png"


def score_values(score: Score, classes: Sequence[str]) -> dict[str, Any]:
    """A score as JSON values; accuracies are shares in [0, 1], null where there is no picture."""
    return {
        "pictures": score.pictures,
        "accuracy": _rounded(score.accuracy) if score.pictures else None,
        "balanced_accuracy": _rounded(score.balanced_accuracy) if score.pictures else None,
        "class_accuracy": dict(zip(classes, map(_rounded, score.class_accuracy), strict=True)),
        "confusion": score.confusion.tolist(),
    }


def report_values(outcome: Outcome) -> dict[str, Any]:
    """A training as JSON values: the plan, the curve, and the three scores."""
    tagger, scores = outcome.tagger, outcome.scores
    return {
        "streamapp": __version__,
        "clip": {"name": tagger.clip_name, "sha256": tagger.clip_sha256},
        "classes": list(tagger.classes),
        "plan": asdict(outcome.plan),
        "context_vectors": list(outcome.trained.context.shape),
        "pictures": outcome.counts,
        "unreadable": {str(file): why for file, why in outcome.unreadable.items()},
        "test": {
            "learnt": score_values(scores.learnt, tagger.classes),
            "started_from": score_values(scores.started, tagger.classes),
            "hand_written": score_values(scores.hand_written, tagger.classes),
        },
        "best_epoch": outcome.trained.best.number,
        "epochs": [asdict(epoch) for epoch in outcome.trained.epochs],
    }


def write_report(folder: Path, outcome: Outcome) -> None:
    """Write all three files of a training.

    Raises:
        OSError: the folder can't be written to.
    """
    learnt = outcome.scores.learnt
    _write(folder, report_values(outcome), _training_text(outcome), learnt, outcome.tagger.classes)


def write_test_report(folder: Path, tagger: Tagger, score: Score, source: str) -> None:
    """Write all three files of the test of an export.

    Raises:
        OSError: the folder can't be written to.
    """
    values = {
        "streamapp": __version__,
        "clip": {"name": tagger.clip_name, "sha256": tagger.clip_sha256},
        "classes": list(tagger.classes),
        "source": source,
        "test": score_values(score, tagger.classes),
    }
    text = f"# A tagger on {source}\n\n{headline(score)}\n\n{_class_table(tagger.classes, [('', score)])}"
    _write(folder, values, text, score, tagger.classes)


def headline(score: Score) -> str:
    """A score in one line."""
    if not score.pictures:
        return "no test pictures"
    return (
        f"{percent(score.accuracy)} of {score.pictures} pictures, {percent(score.balanced_accuracy)} balanced"
    )


def percent(share: float | None) -> str:
    """A share in [0, 1] with one decimal; a dash for None."""
    return "-" if share is None else f"{share:.1%}"


def _write(folder: Path, values: dict[str, Any], text: str, score: Score, classes: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / TEXT_FILE).write_text(text, encoding="utf-8")
    title = "True class (down), predicted class (across, by its number)"
    draw_confusion(score.confusion, classes, title).save(folder / PICTURE_FILE)


def _training_text(outcome: Outcome) -> str:
    plan, scores, trained, tagger = outcome.plan, outcome.scores, outcome.trained, outcome.tagger
    sorts = [
        ("learnt", scores.learnt),
        ("started from", scores.started),
        ("hand-written", scores.hand_written),
    ]
    parts = ", ".join(f"{count} {name}" for name, count in outcome.counts.items())
    left_out = f"; {len(outcome.unreadable)} files could not be read" if outcome.unreadable else ""
    per_class = " for each class" if plan.recipe.is_class_specific else ""
    return "\n".join(
        [
            f"# CoOp prompts for {len(tagger.classes)} classes",
            "",
            f"- **CLIP**: {tagger.clip_name}, `{tagger.clip_sha256[:16]}…`",
            f"- **Pictures**: {parts}{left_out}; at most {plan.shots} shots a class, seed {plan.recipe.seed}",
            f"- **Context**: {trained.context.shape[-2]} vectors{per_class}, started "
            + (f"from “{plan.recipe.words}”" if plan.recipe.words else "at random"),
            f"- **Best epoch**: {trained.best.number} of {trained.epochs[-1].number} run "
            f"(validation {percent(trained.best.validation_accuracy)})",
            f"- **Hand-written prompts**: {'; '.join(plan.hand_written)}",
            "",
            "| prompts | test pictures |",
            "|---|---|",
            *(f"| {name} | {headline(score)} |" for name, score in sorts),
            "",
            _class_table(tagger.classes, sorts),
            "What is taken for what (learnt prompts):",
            "",
            f"![Confusion matrix]({PICTURE_FILE})",
            "",
        ]
    )


def _class_table(classes: Sequence[str], sorts: Sequence[tuple[str, Score]]) -> str:
    """Each class with its pictures and its accuracy, worst of the first sort first."""
    first = sorts[0][1]
    counts = first.confusion.sum(axis=1)
    known = [share if share is not None else 2.0 for share in first.class_accuracy]
    lines = [
        "| class | pictures |" + "".join(f" {name or 'right'} |" for name, _ in sorts),
        "|---|---:|" + "---:|" * len(sorts),
    ]
    for number in sorted(range(len(classes)), key=lambda number: known[number]):
        shares = "".join(f" {percent(score.class_accuracy[number])} |" for _, score in sorts)
        lines.append(f"| {classes[number].replace('|', ' ')} | {counts[number]} |{shares}")
    return "\n".join([*lines, ""])


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
