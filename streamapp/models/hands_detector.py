"""From frames to hands with their landmarks: find palms, look closer at doubtful ones, find landmarks.

Closer looks stand in for the usual overlapping tiles: on photos of hands made smaller, turned, darker or
paler they find as many more hands, for half a run of the palm network more on an average frame and not two
to four.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

import numpy as np

from streamapp.media import Frame, Pixels
from streamapp.models import hands_palms
from streamapp.models.hands_geometry import Region, Tensor, cut, whole
from streamapp.models.hands_networks import Network
from streamapp.models.hands_palms import Palm, merge_palms, read_palms

HAND_SIDE_PX = 224
LANDMARKS = 21


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """What the palm network sees of a frame, and what closer looks and hands are cut from.

    Attributes:
        tensor: ``(192, 192, 3)`` float32 in [0, 1], the frame in the middle of a black square.
        square: that square, in pixels of the frame.
        pixels: the frame's, not copied; they live until the batch has run.
        scale: file pixels per frame pixel.
        origin_px: left and top of the frame in the file.
    """

    tensor: Tensor
    square: Region
    pixels: Pixels
    scale: float
    origin_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class RawHands:
    """The networks' answers on one frame, for N palms.

    Each hand is looked at twice, as it is and mirrored: small hands' landmarks depend on it.

    Attributes:
        palms: N palms, none doubtful.
        landmarks: ``(N, 2, 21, 3)`` float32, x, y and depth in pixels of the landmark network's input;
            those of the mirrored hand are mirrored back.
        presences: ``(N, 2)`` float32 in [0, 1], how surely there is a hand.
        is_finite: all numbers of both networks are; the others mean nothing where they are not.
    """

    palms: tuple[Palm, ...]
    landmarks: Tensor
    presences: Tensor
    is_finite: bool


def prepare_frame(frame: Frame) -> PreparedFrame:
    """Scale a frame to the palm network's input."""
    height, width = frame.pixels.shape[:2]
    square = whole(width, height)
    tensor = _palm_input(frame.pixels, square)
    return PreparedFrame(tensor, square, frame.pixels, frame.scale, frame.origin_px)


class HandDetector:
    """The two networks on a batch of frames.

    Args:
        palm: inputs of 192 px → rows ``(N, 2016, 18)`` and logits ``(N, 2016, 1)``.
        landmark: inputs of 224 px → landmarks ``(N, 63)``, presences ``(N, 1)`` and more that is not needed.
        closer_looks: most doubtful palms of a frame that the palm network sees again, larger.
    """

    def __init__(self, palm: Network, landmark: Network, *, closer_looks: int) -> None:
        self._palm = palm
        self._landmark = landmark
        self._closer_looks = closer_looks

    def warm_up(self, batch_size: int) -> None:
        """Run both networks on as many inputs."""
        for network, side in ((self._palm, hands_palms.INPUT_SIDE_PX), (self._landmark, HAND_SIDE_PX)):
            network([np.zeros((side, side, 3), np.float32)] * batch_size)

    def detect(self, batch: Sequence[PreparedFrame]) -> list[RawHands]:
        """Find the hands of each frame; as many answers as frames, in their order.

        1. Find palms in every frame.
        2. Look closer at the doubtful ones.
        3. Find the landmarks of all hands.
        """
        # 1
        squares = [[frame.square] for frame in batch]
        first = _run(self._palm, [[frame.tensor] for frame in batch])
        palms = [_read(outputs, seen) for outputs, seen in zip(first, squares, strict=True)]
        # 2
        squares = [self._doubtful(seen) for seen in palms]
        second = _run(
            self._palm,
            [
                [_palm_input(frame.pixels, square) for square in looks]
                for frame, looks in zip(batch, squares, strict=True)
            ],
        )
        closer = [_read(outputs, seen) for outputs, seen in zip(second, squares, strict=True)]
        found = [merge_palms(looks) for looks in zip(palms, closer, strict=True)]
        # 3
        third = _run(
            self._landmark,
            [
                [view for palm in seen for view in _hand_inputs(frame.pixels, palm)]
                for frame, seen in zip(batch, found, strict=True)
            ],
        )
        return [_answer(*parts) for parts in zip(found, first, second, third, strict=True)]

    def _doubtful(self, palms: Iterable[Palm]) -> list[Region]:
        return list(islice((palm.look for palm in palms if palm.is_doubtful), self._closer_looks))


def _run(network: Network, inputs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Run a network once on all inputs of all frames; for each frame its share of the two outputs used.

    A frame without inputs gets an empty list.
    """
    outputs = network([one for frame in inputs for one in frame])[:2]
    ends = accumulate((len(frame) for frame in inputs), initial=0)
    return [[output[start:end] for output in outputs] if end > start else [] for start, end in pairwise(ends)]


def _read(outputs: Sequence[Tensor], squares: Sequence[Region]) -> list[Palm]:
    """The palms that the palm network sees in squares of one frame."""
    return [
        palm
        for rows, logits, square in zip(*outputs, squares, strict=False)
        for palm in read_palms(rows, logits[:, 0], square)
    ]


def _palm_input(pixels: Pixels, square: Region) -> Tensor:
    return cut(pixels, square, hands_palms.INPUT_SIDE_PX, repeat_edges=False)


def _hand_inputs(pixels: Pixels, palm: Palm) -> tuple[Tensor, Tensor]:
    """A hand, and the hand mirrored."""
    hand = cut(pixels, palm.hand, HAND_SIDE_PX, repeat_edges=True)
    return hand, hand[:, ::-1]


def _answer(
    palms: tuple[Palm, ...], first: Sequence[Tensor], second: Sequence[Tensor], third: Sequence[Tensor]
) -> RawHands:
    is_finite = all(bool(np.isfinite(output).all()) for output in (*first, *second, *third))
    if not palms:
        return RawHands(
            (), np.empty((0, 2, LANDMARKS, 3), np.float32), np.empty((0, 2), np.float32), is_finite
        )
    landmarks, presences = third[0].reshape(-1, 2, LANDMARKS, 3).copy(), third[1].reshape(-1, 2)
    landmarks[:, 1, :, 0] = HAND_SIDE_PX - 1 - landmarks[:, 1, :, 0]
    return RawHands(palms, landmarks, presences, is_finite)
