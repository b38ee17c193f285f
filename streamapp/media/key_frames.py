"""The frames of an animation that are worth looking at.

The rule is that of the deployment which streamapp replaces: sample one frame per second; keep it if its
structural similarity to each of the last 3 kept is below 0.3; if none is kept, take all that were
sampled. Two points had to be made exact:

- The first sample has nothing to be compared with and is kept. "None is kept" therefore means: none but
  the first. Such a clip is one scene, and what happens in it shows only in the samples.
- A second is represented by the frame that is shown longest within it (the earlier of two equals), not by
  the one on display at the tick: else a frame that nobody notices, at each tick, would hide the others.
  The first frame is sampled besides: it is all that a client without animations shows.

A sample whose pixels equal those of the sample before it is dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamapp.media import Frame
from streamapp.media.similarity import Gray, structural_similarity, thumbnail

_COMPARED_WITH = 3
_SIMILARITY_BELOW = 0.3


@dataclass(frozen=True, slots=True)
class Shown:
    """When a frame of an animation is on display: ``index`` in the file, whole milliseconds of play time."""

    index: int
    start_ms: int
    length_ms: int

    @property
    def end_ms(self) -> int:
        """When the next frame takes its place."""
        return self.start_ms + self.length_ms


class OnePerSecond:
    """Hands on the first frame, and for each second of play time the one shown longest; holds one frame."""

    def __init__(self, take: Callable[[Frame], None]) -> None:
        self._take = take
        self._second = 0
        self._longest_ms = 0
        self._candidate: Frame | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there was no frame yet."""
        return self._candidate is None

    def offer(self, shown: Shown, render: Callable[[], Frame]) -> None:
        """Consider the next frame; ``render`` is called only if the frame is a candidate."""
        frame: Frame | None = None
        if self._candidate is None:
            frame = render()
            self._take(frame)
        for second in range(shown.start_ms // 1000, -(-shown.end_ms // 1000)):
            if second > self._second:
                self.finish()
                self._second, self._longest_ms = second, 0
            within_ms = min(shown.end_ms, 1000 * (second + 1)) - max(shown.start_ms, 1000 * second)
            if within_ms > self._longest_ms:
                frame = frame or render()
                self._longest_ms, self._candidate = within_ms, frame

    def finish(self) -> None:
        """Hand on the frame of the second that is under way."""
        if self._candidate is not None:
            self._take(self._candidate)


class KeyFrames:
    """Selects key frames from samples that come one by one, in constant memory.

    Holds at most ``max_frames`` kept frames; while only the first is kept also as many samples. When the
    samples are full, every other one is dropped and from then on every other one taken, so that they
    stay spread over the whole clip.
    """

    def __init__(self, max_frames: int) -> None:
        self._max_frames = max_frames
        self._kept: list[Frame] = []
        self._thumbnails: list[Gray] = []
        self._samples: list[Frame] = []
        self._stride = 1
        self._seen = 0
        self._last: Frame | None = None

    @property
    def is_full(self) -> bool:
        """Whether no later sample can be selected."""
        return len(self._kept) >= self._max_frames

    def add(self, sample: Frame) -> None:
        """Consider the next sample."""
        is_repeated = self._last is not None and np.array_equal(sample.pixels, self._last.pixels)
        if self.is_full or is_repeated:
            return
        self._last = sample
        small = thumbnail(sample.pixels)
        if all(structural_similarity(small, other) < _SIMILARITY_BELOW for other in self._thumbnails):
            self._kept.append(sample)
            self._thumbnails = [*self._thumbnails, small][-_COMPARED_WITH:]
        if len(self._kept) > 1:
            self._samples.clear()
        else:
            self._add_sample(sample)

    def selected(self) -> tuple[Frame, ...]:
        """The key frames so far, in the order of time; empty if there was no sample."""
        return tuple(self._kept if len(self._kept) > 1 else self._samples)

    def _add_sample(self, sample: Frame) -> None:
        if self._seen % self._stride == 0:
            if len(self._samples) == self._max_frames:
                self._samples = self._samples[::2]
                self._stride *= 2
            if self._seen % self._stride == 0:
                self._samples.append(sample)
        self._seen += 1
