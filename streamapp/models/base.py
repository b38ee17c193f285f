"""What every model is: load → warm up → prepare (per frame) → infer (batch) → finish (per frame).

A model knows nothing of Kafka, Faust or URLs. It sees frames and answers with findings; `judge`
turns the findings of one picture into the columns of its row.

A `Network` runs, its heads judge. Most models are one network with one head, a `Model`; CLIP and CoOp
are two heads on one network that embeds pictures, which runs once for both.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from streamapp.media import Frame

Prepared = TypeVar("Prepared")
Raw = TypeVar("Raw")
Finding = TypeVar("Finding")

Findings = Mapping[str, Sequence[Any]]
"""Model name → that model's finding for each key frame, in the frames' order; one that failed is absent."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What PROVENANCE says of a model.

    Attributes:
        name: of the network, ``320n``.
        weights_sha256: hex digest of the file that the weights came from.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
        device: ``cpu``, ``cuda:0``.
    """

    name: str
    weights_sha256: str
    precision: str
    device: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model says of a whole picture.

    Attributes:
        to_be_moderated: a person should look.
        columns: the row's fields that only this model has, by their full name (``NN_SAFE_SCORES``).
        primary_categories, secondary_categories: best first; empty for models that do not tag.
    """

    to_be_moderated: bool
    columns: Mapping[str, str] = field(default_factory=dict)
    primary_categories: tuple[str, ...] = ()
    secondary_categories: tuple[str, ...] = ()


class Head(ABC):
    """One model of the settings and the row: what it makes of the findings of a picture's frames.

    Attributes:
        name: in settings and provenance, ``nudenet``.
        prefix: of its fields in the row, ``NN``.
        moderates: whether the row has ``<prefix>_TO_BE_MODERATED`` (a tagger has not).
    """

    name: str
    prefix: str
    moderates: bool = True

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What PROVENANCE says of this model."""

    @abstractmethod
    def judge(self, findings: Findings) -> Verdict:
        """Aggregate the findings of one picture's frames; this model's own are in ``findings[self.name]``."""

    def describe(self, finding: Any) -> Sequence[Mapping[str, Any]]:
        """What the model points at in one frame, as JSON values for PROVENANCE and the report.

        A thing with a place has ``box``: ``[x, y, width, height]`` in pixels of the upright file.
        """
        return ()


class Network(ABC, Generic[Prepared, Raw, Finding]):
    """One neural network, one instance of it, used by its own inference threads.

    `prepare` and `finish` are called from several threads at once and must not touch the device;
    `load`, `warm_up`, `try_out` and `infer` are called from the instance's own threads.

    Attributes:
        name: of the instance's threads, and in logs.
        batch_sizes: the sizes in which `infer` is called, ascending, starting with 1. Few and fixed,
            because onnxruntime's memory arena grows with every new one.
        lanes: threads that may call `infer` at the same time.
    """

    name: str
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)
    lanes: int = 1

    @property
    @abstractmethod
    def heads(self) -> Sequence[Head]:
        """The models that judge by this network's findings, in the row's order."""

    @abstractmethod
    def check_weights(self) -> None:
        """Make sure, without loading them, that the weights are there and are the expected ones.

        Raises:
            WeightsError: names the file, where it was looked for and what to do.
        """

    @abstractmethod
    def load(self) -> None:
        """Read the weights onto the device: the files that `check_weights` found, if it was called before."""

    def warm_up(self) -> None:
        """Run every batch size once on this thread, so that the first picture is no slower than the next."""
        black = self.prepare(_black_frame())
        for size in self.batch_sizes:
            self.infer([black] * size)

    def try_out(self) -> None:
        """Run a black frame on this thread; raises where the network is of no use any more.

        A network with a `warm_up` of its own, because it can't do a black frame, has one of these, too.
        """
        self.infer([self.prepare(_black_frame())])

    @abstractmethod
    def prepare(self, frame: Frame) -> Prepared:
        """Turn a frame into the network's input (CPU, any thread)."""

    @abstractmethod
    def infer(self, batch: Sequence[Prepared]) -> Sequence[Raw]:
        """Run the network once; as many answers as inputs, in their order."""

    @abstractmethod
    def finish(self, raw: Raw, prepared: Prepared) -> Finding:
        """Turn one answer into a finding (CPU, any thread).

        Raises:
            ModelError: the numbers can't be used (NaN or infinite).
        """

    @abstractmethod
    def split(self, finding: Finding) -> Mapping[str, Any]:
        """A finding as its heads have it: head's name → its part, for every head."""


class Model(Network[Prepared, Raw, Finding], Head):
    """A network that is its own and only head."""

    @property
    def heads(self) -> Sequence[Head]:
        """Itself."""
        return (self,)

    def split(self, finding: Finding) -> Mapping[str, Any]:
        """All of it is its own."""
        return {self.name: finding}


def _black_frame() -> Frame:
    return Frame(np.zeros((64, 64, 3), np.uint8))


AnyModel = Model[Any, Any, Any]
AnyNetwork = Network[Any, Any, Any]
