"""The training loop: steps, a budget of time, progress, checkpoints and an export that is always there."""

import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn import functional

from training.tiny_clip import network
from training.tiny_clip.augment import BACKGROUNDS, Augmenter
from training.tiny_clip.batches import Batches
from training.tiny_clip.captions import Captioner
from training.tiny_clip.concepts import Concept, load_concepts
from training.tiny_clip.files import replaced
from training.tiny_clip.learner import Learner, normalised
from training.tiny_clip.pictures import Indices, Pictures, load_pictures, on_colour
from training.tiny_clip.sources import PACKAGES

CHECKPOINT_FILE = "checkpoint.pt"
TRAINING_FILE = "training.json"
EXPORT_FOLDER = "export"

Say = Callable[[str], None]

_FINAL_RATE = 0.02
_ENCODE_BATCH = 256
_WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    Attributes:
        steps, minutes: whichever is used up first ends the training; the learning rate falls to its end
            with the one that is nearer to its end.
        batch: pictures, and as many captions, per step.
        learning_rate: its peak, reached after ``warm_up_steps``.
        backgrounds: made once, that the drawings are laid on.
        threads: of torch, which the command sets; one more thread makes the batches.
        save_every: steps between checkpoints, each with an export and a look at the validation pictures.
    """

    steps: int = 9000
    minutes: float = 58.0
    batch: int = 160
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 100
    threads: int = 1
    seed: int = 0
    backgrounds: int = BACKGROUNDS
    save_every: int = 250
    say_every: int = 50


@dataclass(slots=True)
class Account:
    """What a run has used and reached so far; written beside the checkpoint."""

    plan: Plan
    started: str
    machine: str
    torch_version: str
    packages: dict[str, str]
    steps: int = 0
    minutes: float = 0.0
    core_minutes: float = 0.0
    validation: list[dict[str, float]] = field(default_factory=list)


def rate_at(plan: Plan, step: int, progress: float) -> float:
    """The learning rate: a linear rise, then half a cosine down to 2 % of the peak.

    Args:
        progress: in [0, 1], of the budget.
    """
    rise = min(1.0, (step + 1) / plan.warm_up_steps)
    fall = _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
    return plan.learning_rate * rise * fall


class Training:
    """One run, in its own folder; a run that was broken off goes on from its checkpoint."""

    def __init__(self, data: Path, run: Path, plan: Plan, say: Say) -> None:
        torch.manual_seed(plan.seed)
        self._run, self._plan, self._say = run, plan, say
        self._export = run / EXPORT_FOLDER
        self._concepts = load_concepts(data)
        self._pictures = load_pictures(data)
        self._learnt_from, self._validation = self._pictures.split()
        network.write_config(self._export)
        self._tiny = network.create(self._export)
        self._captioner = Captioner(self._concepts, self._tiny.tokenizer, network.CONTEXT_LENGTH)
        self._learner = Learner(
            self._tiny.model, self._captioner.true_of, plan.learning_rate, plan.weight_decay, plan.seed
        )
        self._account, self._spent_s, self._spent_core_s = self._take_up()
        self._started_s, self._started_core_s = time.monotonic(), time.process_time()

    def _take_up(self) -> tuple[Account, float, float]:
        """Start an account, or go on with the one of a run that was broken off."""
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        packages = {f"{package.name}@{package.version}": package.sha256 for package in PACKAGES}
        account = Account(
            self._plan, datetime.now(UTC).isoformat(timespec="seconds"), machine, torch.__version__, packages
        )
        checkpoint = self._run / CHECKPOINT_FILE
        if not checkpoint.exists():
            return account, 0.0, 0.0
        spent_s = self._learner.resume(checkpoint)
        before = json.loads((self._run / TRAINING_FILE).read_text(encoding="utf-8"))
        account.started, account.validation = before["started"], before["validation"]
        self._say(f"going on from step {self._learner.step}, {spent_s / 60:.1f} min in")
        return account, spent_s, before["core_minutes"] * 60

    @property
    def _elapsed_s(self) -> float:
        return self._spent_s + time.monotonic() - self._started_s

    @property
    def _progress(self) -> float:
        return min(
            1.0, max(self._learner.step / self._plan.steps, self._elapsed_s / (self._plan.minutes * 60))
        )

    def train(self) -> None:
        """Train until the budget is used up; leaves the export, the checkpoint and the account."""
        plan, learner = self._plan, self._learner
        if self._progress >= 1:
            self._say(f"the budget is used up: {learner.step} steps, {self._elapsed_s / 60:.1f} min")
            return
        self._say(
            f"{sum(weights.numel() for weights in learner.model.parameters()) / 1e6:.2f} M parameters, "
            f"{len(self._concepts)} concepts, {len(self._learnt_from)} pictures to learn from, "
            f"{len(self._validation)} to validate on"
        )
        loss = 0.0
        for batch in self._batches():
            losses = learner.learn(batch, rate_at(plan, learner.step, self._progress))
            loss += losses.total / plan.say_every
            if learner.step % plan.say_every == 0:
                self._say_progress(loss)
                loss = 0.0
            is_done = self._progress >= 1
            if is_done or learner.step % plan.save_every == 0:
                self._save()
            if is_done:
                break

    def _batches(self) -> Batches:
        """Batches of this run; a resumed one draws anew, from the step it is at, and not the same again."""
        plan, seed = self._plan, self._plan.seed + self._learner.step
        drawings = self._pictures.pixels[torch.from_numpy(self._learnt_from)]
        augment = Augmenter(drawings, network.IMAGE_SIDE_PX, seed, plan.backgrounds)
        return Batches(self._pictures, self._learnt_from, self._captioner, augment, plan.batch, seed)

    def _say_progress(self, loss: float) -> None:
        elapsed_s, progress = self._elapsed_s, self._progress
        left_s = elapsed_s * (1 - progress) / max(progress, 1e-6)
        self._say(
            f"step {self._learner.step}, {progress:.0%}, {elapsed_s / 60:.1f} min, "
            f"{left_s / 60:.1f} min left, {elapsed_s / self._learner.step:.2f} s a step, loss {loss:.3f}"
        )

    def _save(self) -> None:
        """Look at the validation pictures, then write weights, checkpoint and account."""
        top1, top5 = name_hits(
            self._learner.average, self._tiny.tokenizer, self._concepts, self._pictures, self._validation
        )
        self._say(f"step {self._learner.step}: validation names, top-1 {top1:.1%}, top-5 {top5:.1%}")
        account = self._account
        account.steps, account.minutes = self._learner.step, round(self._elapsed_s / 60, 2)
        core_s = self._spent_core_s + time.process_time() - self._started_core_s
        account.core_minutes = round(core_s / 60, 2)
        account.validation.append(
            {"step": self._learner.step, "top1": round(top1, 4), "top5": round(top5, 4)}
        )
        network.save_weights(self._export, self._learner.average.state_dict())
        self._learner.save(self._run / CHECKPOINT_FILE, self._elapsed_s)
        with replaced(self._run / TRAINING_FILE) as part:
            part.write_text(json.dumps(asdict(account), indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def name_hits(
    model: open_clip.CLIP,
    tokenizer: SimpleTokenizer,
    concepts: list[Concept],
    pictures: Pictures,
    of: Indices,
) -> tuple[float, float]:
    """How often the bare name is first, and among the first five, of all names; plainly on white."""
    names = [concept.name for concept in concepts]
    text = torch.cat(
        [
            functional.normalize(model.encode_text(tokenizer(names[start : start + _ENCODE_BATCH])), dim=-1)
            for start in range(0, len(names), _ENCODE_BATCH)
        ]
    )
    hits = torch.zeros(5)
    for start in range(0, len(of), _ENCODE_BATCH):
        chosen = of[start : start + _ENCODE_BATCH]
        small = functional.interpolate(
            on_colour(pictures.pixels[torch.from_numpy(chosen)], _WHITE), network.IMAGE_SIDE_PX, mode="area"
        )
        image = functional.normalize(model.encode_image(normalised(small)), dim=-1)
        best = (image @ text.T).topk(5).indices
        hits += (best == torch.from_numpy(pictures.concept[chosen])[:, None]).float().sum(0)
    return float(hits[0] / len(of)), float(hits.sum() / len(of))
