"""The frames of an animation that are worth looking at.

While a file has no more different frames than may be taken, all of them are, however short or late they
are shown. Of one with more, half the places go by time and the rest by difference:

- By time, the rule is that of the deployment which streamapp replaces: sample one frame per second; keep
  it if its structural similarity to each of the last 3 kept is below 0.3; if none is kept, take all that
  were sampled. The first sample is always kept, so that "none" means none but the first: one scene. A
  second is represented by the frame that is shown longest within it (the earlier of two equals), else one
  that nobody notices, at each tick, would hide the others. The first frame is sampled besides: it is all
  that a client without animations shows.
- By difference, because that rule alone never sees what is on display for 49 % of every second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from streamapp.media import Frame
from streamapp.media.difference import Candidate, FarthestApart, Look, farthest_from, is_same
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

    def __init__(self, take: Callable[[Candidate], None]) -> None:
        self._take = take
        self._second = 0
        self._longest_ms = 0
        self._candidate: Candidate | None = None

    def offer(self, shown: Shown, render: Callable[[], Candidate]) -> None:
        """Consider the next frame; ``render`` is called only if the frame is a candidate."""
        if self._candidate is None:
            self._take(render())
        for second in range(shown.start_ms // 1000, -(-shown.end_ms // 1000)):
            if second > self._second:
                self.finish()
                self._second, self._longest_ms = second, 0
            within_ms = min(shown.end_ms, 1000 * (second + 1)) - max(shown.start_ms, 1000 * second)
            if within_ms > self._longest_ms:
                self._longest_ms, self._candidate = within_ms, render()

    def finish(self) -> None:
        """Hand on the frame of the second that is under way."""
        if self._candidate is not None:
            self._take(self._candidate)


class Spread:
    """Holds at most so many of the candidates that come one by one, evenly spread over all of them.

    When it is full, every other one is dropped, and from then on every other one taken.
    """

    def __init__(self, max_candidates: int) -> None:
        self.candidates: list[Candidate] = []
        self.seen = 0
        self._max_candidates = max_candidates
        self._stride = 1

    def add(self, candidate: Candidate) -> None:
        """Consider the next one."""
        if self.seen % self._stride == 0 and len(self.candidates) == self._max_candidates:
            self.candidates = self.candidates[::2]
            self._stride *= 2
        if self.seen % self._stride == 0:
            self.candidates.append(candidate)
        self.seen += 1


class Scenes:
    """Samples that begin a scene; while there is only one scene, all samples."""

    def __init__(self, max_frames: int) -> None:
        self._kept = Spread(max_frames)
        self._samples = Spread(max_frames)
        self._thumbnails: list[Gray] = []
        self._last: Candidate | None = None

    def add(self, sample: Candidate) -> None:
        """Consider the next sample; one that looks like the sample before it is dropped."""
        if self._last is not None and is_same(sample.look, self._last.look):
            return
        self._last = sample
        small = thumbnail(sample.look)
        if all(structural_similarity(small, other) < _SIMILARITY_BELOW for other in self._thumbnails):
            self._kept.add(sample)
            self._thumbnails = [*self._thumbnails, small][-_COMPARED_WITH:]
        if self._kept.seen == 1:
            self._samples.add(sample)
        else:
            self._samples.candidates.clear()

    @property
    def chosen(self) -> Spread:
        """What is by the rule worth looking at, thinned to what may be taken; in the order of time."""
        return self._kept if self._kept.seen > 1 else self._samples


class KeyFrames:
    """Selects key frames from an animation's frames, which come one by one, in constant memory.

    Holds at most ``3 * max_frames + 2`` rendered frames.

    Args:
        max_frames: that may be taken.
        max_seconds: play time that is looked at, once the file has more different frames than that.
    """

    def __init__(self, max_frames: int, max_seconds: float) -> None:
        self._max_frames = max_frames
        self._limit_ms = int(max_seconds * 1000)
        self._different = FarthestApart(max_frames)
        self._scenes = Scenes(max_frames)
        self._sampler = OnePerSecond(self._scenes.add)
        self._end_ms = 0

    @property
    def is_past_its_time(self) -> bool:
        """Whether no later frame is to be looked at."""
        return self._different.is_overflowed and self._end_ms >= self._limit_ms

    def offer(self, shown: Shown, look: Look, render: Callable[[], Frame]) -> None:
        """Consider the next frame; ``render`` is called once at most, and only if it may be taken."""
        self._end_ms = shown.end_ms
        candidate = cache(lambda: Candidate(render(), look))
        self._different.offer(look, candidate)
        length_ms = min(shown.length_ms, self._limit_ms - shown.start_ms)
        if length_ms > 0:
            self._sampler.offer(Shown(shown.index, shown.start_ms, length_ms), candidate)

    def selected(self) -> tuple[tuple[Frame, ...], bool]:
        """The key frames in the order of time, and whether they are all that the rules ask for."""
        different = self._different.candidates
        if not self._different.is_overflowed:
            return tuple(candidate.frame for candidate in different), True
        self._sampler.finish()
        by_time = self._scenes.chosen
        taken = _evenly(by_time.candidates, self._max_frames - self._max_frames // 2)
        others = [*by_time.candidates, *different]
        while len(taken) < self._max_frames:
            taken.append(farthest_from(taken, others))
        # Not by their numbers: two different frames of a broken file can have the same.
        chosen = dict.fromkeys(taken)
        frames = sorted((candidate.frame for candidate in chosen), key=lambda frame: frame.index)
        is_complete = by_time.seen == sum(candidate in chosen for candidate in by_time.candidates)
        return tuple(frames), is_complete


def _evenly(candidates: list[Candidate], most: int) -> list[Candidate]:
    """At most so many of them, the first always."""
    count = min(most, len(candidates))
    return [candidates[place * len(candidates) // count] for place in range(count)]
