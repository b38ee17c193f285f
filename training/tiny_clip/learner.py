"""One training step: the loss, the optimiser and the average of the weights."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from torch.nn import functional

from training.tiny_clip.batches import Batch
from training.tiny_clip.captions import Caption
from training.tiny_clip.files import replaced

_LABEL_SMOOTHING = 0.05
_MAX_LOGIT_SCALE = math.log(100)  # as in the CLIP paper
_MAX_GRADIENT_NORM = 1.0
_AVERAGE_DECAY = 0.995
_SHORT_SHARE = 0.75

_MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
_STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss of one step; the loss is their sum."""

    contrastive: float
    image_proxy: float
    text_proxy: float

    @property
    def total(self) -> float:
        """What the step went down."""
        return self.contrastive + self.image_proxy + self.text_proxy


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] as the image tower wants them (open_clip's mean and standard deviation)."""
    return (pictures - _MEAN) / _STD


def encode_tokens(model: open_clip.CLIP, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
    """Encode token lists with no padding beyond the longest: ``encode_text``, but cheaper for short ones.

    The causal mask makes what stands behind the end token irrelevant to it, so the result is the same.

    Returns:
        (B, D) float32, not normalised.
    """
    longest = max(map(len, tokens))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in tokens])
    hidden = model.token_embedding(ids) + model.positional_embedding[:longest]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:longest, :longest]))
    features: torch.Tensor = hidden[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection
    return features


def spread(is_true: torch.Tensor) -> torch.Tensor:
    """Share each row's weight of 1 equally among its true entries: (R, C) bool → float32."""
    weights = is_true.float()
    return weights / weights.sum(1, keepdim=True)


class Learner:
    """The network in training, with an average of its weights, which is what is exported.

    Beside CLIP's own loss both towers also learn against one proxy vector per concept, thrown away after
    training: a batch holds a ninth of the concepts, the proxies stand for all of them.
    """

    def __init__(
        self,
        model: open_clip.CLIP,
        true_of: torch.Tensor,
        learning_rate: float,
        weight_decay: float,
        seed: int,
    ) -> None:
        """Take the network over.

        Args:
            model: trained in place, in channels-last layout.
            true_of: (P, C) bool; which phrase is true of which concept.
        """
        self.model = model.train().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.step = 0
        self._true_of = true_of
        generator = torch.Generator().manual_seed(seed)
        embed_dim = model.text_projection.shape[1]
        self._proxies = torch.nn.Parameter(
            torch.randn(true_of.shape[1], embed_dim, generator=generator) * 0.1
        )
        matrices = [weights for weights in model.parameters() if weights.ndim >= 2]
        vectors = [weights for weights in model.parameters() if weights.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": [*vectors, self._proxies], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)

    def learn(self, batch: Batch, learning_rate: float) -> Losses:
        """Take one step down the loss of this batch."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        image, text = self._embed(batch)
        contrastive, image_proxy, text_proxy = self._losses(batch, image, text)
        self._optimizer.zero_grad()
        torch.autograd.backward(contrastive + image_proxy + text_proxy)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.step += 1
        self._follow()
        return Losses(contrastive.item(), image_proxy.item(), text_proxy.item())

    def _embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode both sides to unit length. In bf16, measured at 0.7 of fp32's time; the losses are fp32."""
        pictures = normalised(batch.pictures).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            image = self.model.encode_image(pictures)
            text = self._encode_captions(batch.captions)
        return functional.normalize(image.float(), dim=-1), functional.normalize(text.float(), dim=-1)

    def _encode_captions(self, captions: Sequence[Caption]) -> torch.Tensor:
        """Encode the captions in two lots by length, so that one long caption does not pad all the others."""
        by_length = sorted(range(len(captions)), key=lambda row: len(captions[row].tokens))
        cut = int(len(captions) * _SHORT_SHARE)
        lots = [[captions[row].tokens for row in rows] for rows in (by_length[:cut], by_length[cut:])]
        features = torch.cat([encode_tokens(self.model, lot) for lot in lots])
        back = torch.tensor(by_length).argsort()
        return features[back]

    def _losses(
        self, batch: Batch, image: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compare captions with pictures, and each with the proxies; every true pair counts."""
        scale = self.model.logit_scale.exp()
        true_of = self._true_of[[caption.phrase for caption in batch.captions]]
        true_pairs = true_of[:, batch.concepts]
        logits = scale * text @ image.T
        of_captions = (spread(true_pairs) * logits.log_softmax(1)).sum(1).mean()
        of_pictures = (spread(true_pairs.T) * logits.T.log_softmax(1)).sum(1).mean()
        proxies = functional.normalize(self._proxies, dim=-1).T
        image_proxy = functional.cross_entropy(
            scale * image @ proxies, batch.concepts, label_smoothing=_LABEL_SMOOTHING
        )
        text_proxy = -(spread(true_of) * (scale * text @ proxies).log_softmax(1)).sum(1).mean()
        return -(of_captions + of_pictures) / 2, image_proxy, text_proxy

    @torch.no_grad()
    def _follow(self) -> None:
        """Bound the logit scale and draw the average nearer to the weights, faster while it is young."""
        self.model.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)
        weight = 1 - min(_AVERAGE_DECAY, self.step / (self.step + 10))
        averages = self.average.state_dict()
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                averages[name].lerp_(tensor, weight)
            else:
                averages[name].copy_(tensor)

    def save(self, path: Path, elapsed_s: float) -> None:
        """Write all that `resume` needs, atomically."""
        state = {
            "step": self.step,
            "elapsed_s": elapsed_s,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "proxies": self._proxies.detach(),
            "optimizer": self._optimizer.state_dict(),
        }
        with replaced(path) as part:
            torch.save(state, part)

    def resume(self, path: Path) -> float:
        """Go on from what `save` wrote.

        Returns:
            The seconds that were already spent.
        """
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        with torch.no_grad():
            self._proxies.copy_(state["proxies"])
        self._optimizer.load_state_dict(state["optimizer"])
        return float(state["elapsed_s"])
