from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_hand import middle_finger_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from mediapipe_weights import located, mediapipe_weights, middle_finger

from streamapp.errors import ModelError, WeightsError
from streamapp.media import Frame, Pixels
from streamapp.models import middle_finger as middle_finger_module
from streamapp.models.hands_detector import HandDetector, PreparedFrame, RawHands, prepare_frame
from streamapp.models.hands_geometry import Tensor
from streamapp.models.hands_networks import LiteRtNetwork, Network, OnnxNetwork
from streamapp.models.middle_finger import LANDMARK, PALM, Hand, MiddleFinger, MiddleFingerFinding
from streamapp.models.store import find_artifact
from streamapp.models.tflite_onnx import tflite_to_onnx
from streamapp.models.weights import WeightsFile
from streamapp.reasons import Reason


@pytest.fixture(scope="module")
def model() -> MiddleFinger:
    loaded = middle_finger(batch_sizes=(1, 2))
    loaded.load()
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="module")
def networks() -> tuple[Network, Network]:
    pool = ThreadPoolExecutor(2)
    palm, landmark = (LiteRtNetwork(path, pool=pool, threads=2) for path in mediapipe_weights())
    return palm, landmark


@pytest.fixture(scope="module")
def pictures() -> list[Pixels]:
    """Hands, hands far away, and none."""
    drawn = middle_finger_picture()
    return [
        drawn,
        np.ascontiguousarray(np.rot90(drawn)),
        on_canvas(1100, drawn),
        side_by_side(drawn, drawn[:, ::-1]),
        np.zeros((90, 400, 3), np.uint8),
        cv2.resize(drawn, (190, 333)),
    ]


def on_canvas(side_px: int, picture: Pixels) -> Pixels:
    canvas = np.full((side_px, side_px, 3), picture[0, 0], np.uint8)
    canvas[100 : 100 + picture.shape[0], 300 : 300 + picture.shape[1]] = picture
    return canvas


def side_by_side(*pictures: Pixels) -> Pixels:
    return np.concatenate(pictures, axis=1)


def look(
    model: MiddleFinger, pixels: Pixels, scale: float = 1.0, origin_px: tuple[float, float] = (0.0, 0.0)
) -> MiddleFingerFinding:
    prepared = model.prepare(Frame(np.ascontiguousarray(pixels), scale=scale, origin_px=origin_px))
    (raw,) = model.infer([prepared])
    return model.finish(raw, prepared)


def hand(score: float) -> Hand:
    return Hand(score, 0.75, 0.875, ((1.0, 2.0),) * 21, (10.04, 20.0, 30.0, 40.0))


def found(*scores: float) -> MiddleFingerFinding:
    return MiddleFingerFinding(tuple(hand(score) for score in scores))


def test_a_middle_finger_is_found_where_it_is(model: MiddleFinger) -> None:
    (only,) = look(model, middle_finger_picture()).hands
    assert only.score > 0.9 and only.palm_score >= 0.5 and only.presence >= 0.5
    tip_x, tip_y = only.landmarks_px[12]
    assert 210 < tip_x < 270 and 70 < tip_y < 160, "not in the upper part of the drawn finger"
    left, top, width, height = only.box_px
    # The drawn hand reaches from 150 to 315 across and from 95 to 370 down, its wrist not counted.
    assert 120 < left < 200 and 70 < top < 160
    assert 270 < left + width < 340 and 300 < top + height < 420


def test_a_black_frame_tries_both_networks(model: MiddleFinger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(inputs: Sequence[Tensor]) -> list[Tensor]:
        raise RuntimeError("no room for hands")

    model.try_out()
    monkeypatch.setattr(model._loaded(), "_landmark", fails)
    with pytest.raises(RuntimeError, match="no room for hands"):
        model.try_out()


def test_a_mirrored_picture_scores_nearly_the_same(model: MiddleFinger) -> None:
    drawn = middle_finger_picture()
    assert look(model, drawn[:, ::-1]).score == pytest.approx(look(model, drawn).score, abs=0.1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_lying_hand_is_found(model: MiddleFinger, quarters: int) -> None:
    assert look(model, np.rot90(middle_finger_picture(), quarters)).score > 0.5


def test_every_hand_of_a_frame_is_found(model: MiddleFinger) -> None:
    drawn = middle_finger_picture()
    hands = look(model, side_by_side(drawn, drawn[:, ::-1])).hands
    assert sorted(hand.box_px[0] > 480 for hand in hands) == [False, True]
    assert [hand.score for hand in hands] == sorted((hand.score for hand in hands), reverse=True)


def test_boxes_and_landmarks_are_in_the_file_s_pixels_where_the_frame_was_scaled_down(
    model: MiddleFinger,
) -> None:
    drawn = middle_finger_picture()
    (plain,), (scaled,) = look(model, drawn).hands, look(model, drawn, scale=3.0).hands
    assert scaled.box_px == pytest.approx([3 * edge for edge in plain.box_px])
    np.testing.assert_allclose(scaled.landmarks_px, 3 * np.array(plain.landmarks_px))


def test_boxes_and_landmarks_are_in_the_file_s_pixels_where_bars_were_cut_off(model: MiddleFinger) -> None:
    drawn = middle_finger_picture()
    (plain,), (moved,) = look(model, drawn).hands, look(model, drawn, origin_px=(30.0, 70.0)).hands
    assert moved.box_px == pytest.approx(np.add(plain.box_px, (30, 70, 0, 0)))
    np.testing.assert_allclose(moved.landmarks_px, np.add(plain.landmarks_px, (30, 70)))


class DoubtfulPalm:
    """A palm network that doubts at first sight, and says what it sees at the second."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._looks = 0

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        self._looks += 1
        if not inputs:
            return []
        rows, logits = self._network(inputs)
        return [rows, np.minimum(logits, -1.0) if self._looks == 1 else logits]


@pytest.mark.parametrize(("closer_looks", "hands"), [(2, 1), (0, 0)])
def test_a_doubtful_palm_gets_a_closer_look(
    networks: tuple[Network, Network], closer_looks: int, hands: int
) -> None:
    palm, landmark = networks
    detector = HandDetector(DoubtfulPalm(palm), landmark, closer_looks=closer_looks)
    (raw,) = detector.detect([prepare_frame(Frame(middle_finger_picture()))])
    assert len(raw.palms) == hands


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (2, 3), (192, 192)])
@pytest.mark.parametrize("shade", [0, 255])
def test_a_degenerate_frame_gets_a_finding(model: MiddleFinger, width: int, height: int, shade: int) -> None:
    assert 0.0 <= look(model, np.full((height, width, 3), shade, np.uint8)).score <= 1.0


@pytest.fixture(scope="module")
def prepared(model: MiddleFinger, pictures: list[Pixels]) -> list[PreparedFrame]:
    return [model.prepare(Frame(picture)) for picture in pictures]


@pytest.fixture(scope="module")
def singles(model: MiddleFinger, prepared: list[PreparedFrame]) -> list[MiddleFingerFinding]:
    findings = [model.finish(model.infer([one])[0], one) for one in prepared]
    assert sum(bool(finding.hands) for finding in findings) >= 4, "too few hands: equality proves nothing"
    return findings


@settings(max_examples=12, deadline=None)
@given(picks=st.lists(st.integers(0, 5), min_size=2, max_size=6))
def test_a_frame_s_finding_does_not_depend_on_its_neighbours(
    model: MiddleFinger,
    prepared: list[PreparedFrame],
    singles: list[MiddleFingerFinding],
    picks: list[int],
) -> None:
    raws = model.infer([prepared[pick] for pick in picks])
    assert len(raws) == len(picks)
    for pick, raw in zip(picks, raws, strict=True):
        assert model.finish(raw, prepared[pick]) == singles[pick]


def test_the_networks_of_the_gpu_find_the_same(
    model: MiddleFinger, prepared: list[PreparedFrame], singles: list[MiddleFingerFinding]
) -> None:
    palm, landmark = (
        OnnxNetwork(tflite_to_onnx(path), what="Test", device="cpu", threads=2, batch_sizes=(1, 2, 4))
        for path in mediapipe_weights()
    )
    raws = HandDetector(palm, landmark, closer_looks=2).detect(prepared)
    for raw, one, expected in zip(raws, prepared, singles, strict=True):
        finding = model.finish(raw, one)
        assert len(finding.hands) == len(expected.hands)
        assert finding.score == pytest.approx(expected.score, abs=2e-3)


class NotFinite:
    """A network whose answer on one input has a number that is none."""

    def __init__(self, network: Network, output: int, value: float) -> None:
        self._network = network
        self._output = output
        self._value = value

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        outputs = self._network(inputs)
        if outputs:
            outputs[self._output][0].flat[0] = self._value
        return outputs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("which", [0, 1], ids=["palm", "landmark"])
def test_numbers_that_are_not_finite_are_an_error_of_their_frame_only(
    model: MiddleFinger,
    networks: tuple[Network, Network],
    prepared: list[PreparedFrame],
    which: int,
    output: int,
    value: float,
) -> None:
    one_broken = list(networks)
    one_broken[which] = NotFinite(networks[which], output, value)
    batch = [prepared[0], prepared[1]]
    broken, whole = HandDetector(*one_broken, closer_looks=0).detect(batch)
    with pytest.raises(ModelError) as caught:
        model.finish(broken, batch[0])
    assert caught.value.reason is Reason.MODEL_NOT_FINITE
    assert model.finish(whole, batch[1]).hands


def test_where_the_landmark_network_sees_no_hand_there_is_none(
    model: MiddleFinger, prepared: list[PreparedFrame]
) -> None:
    (raw,) = model.infer(prepared[:1])
    doubted = RawHands(raw.palms, raw.landmarks, np.full_like(raw.presences, 0.49), is_finite=True)
    assert model.finish(doubted, prepared[0]) == MiddleFingerFinding(())


def test_a_hand_and_its_mirror_image_have_their_landmarks_in_the_same_places(
    model: MiddleFinger, prepared: list[PreparedFrame]
) -> None:
    (raw,) = model.infer(prepared[:1])
    assert raw.landmarks.shape == (1, 2, 21, 3)
    as_it_is, mirrored = raw.landmarks[0, :, :, :2]
    assert np.median(np.abs(as_it_is - mirrored)) < 5


@pytest.mark.parametrize("view", [0, 1])
def test_a_hand_s_score_is_that_of_the_better_view_with_a_hand_in_it(
    model: MiddleFinger, prepared: list[PreparedFrame], view: int
) -> None:
    (raw,) = model.infer(prepared[:1])
    landmarks, presences = raw.landmarks.copy(), np.full_like(raw.presences, 0.9)
    landmarks[:, 1 - view, 11:13] = landmarks[:, 1 - view, 9:10]  # no middle finger in the other view
    both = RawHands(raw.palms, landmarks, presences, is_finite=True)
    assert model.finish(both, prepared[0]).score > 0.8
    presences[:, view] = 0.1
    assert model.finish(both, prepared[0]).score < 0.1


def test_a_frame_s_score_is_the_highest_of_its_hands() -> None:
    assert found(0.2, 0.7, 0.1).score == 0.7
    assert found().score == 0.0


def unloaded(threshold: float = 0.5) -> MiddleFinger:
    return MiddleFinger(
        palm=located(Path("palm")), landmark=located(Path("landmark")), threads=1, threshold=threshold
    )


@pytest.mark.parametrize(("score", "is_flagged"), [(0.5, True), (0.499, False), (1.0, True), (0.0, False)])
def test_one_hand_in_one_frame_that_reaches_the_threshold_is_enough(score: float, is_flagged: bool) -> None:
    verdict = unloaded().judge({"mfd": [found(), found(0.1, score), found(0.2)]})
    assert verdict.to_be_moderated is is_flagged
    assert verdict.columns == {}


def test_the_threshold_is_the_policy_s() -> None:
    assert unloaded(threshold=0.25).judge({"mfd": [found(0.3)]}).to_be_moderated
    assert not unloaded(threshold=0.75).judge({"mfd": [found(0.7)]}).to_be_moderated


def test_provenance_gets_every_hand_and_says_which_shows_the_finger() -> None:
    assert unloaded().describe(found(0.98765, 0.25)) == [
        {"label": "middle finger", "score": 0.9877, "box": [10.0, 20.0, 30.0, 40.0]},
        {"label": "hand", "score": 0.25, "box": [10.0, 20.0, 30.0, 40.0]},
    ]


def test_provenance_names_both_files_and_the_device() -> None:
    info = middle_finger().info
    assert (info.name, info.precision, info.device) == ("mediapipe-hands-full", "fp32", "cpu")
    assert info.weights_sha256 == f"{find_artifact(PALM).sha256}+{find_artifact(LANDMARK).sha256}"


def test_provenance_names_the_user_s_own_files_by_their_own_names_and_digests(tmp_path: Path) -> None:
    for name in ("mine", "ours"):
        (tmp_path / f"{name}.tflite").write_text(name)
    palm, landmark = (located(tmp_path / f"{name}.tflite") for name in ("mine", "ours"))
    info = MiddleFinger(palm=palm, landmark=landmark, threads=1).info
    assert info.name == "mine+ours"
    assert info.weights_sha256 == f"{palm().sha256}+{landmark().sha256}"


def test_the_files_are_looked_for_once() -> None:
    looked: list[Path] = []

    def looking(path: Path) -> Callable[[], WeightsFile]:
        return lambda: looked.append(path) or located(path)()  # type: ignore[func-returns-value]

    palm, landmark = mediapipe_weights()
    model = MiddleFinger(palm=looking(palm), landmark=looking(landmark), threads=1)
    assert not looked
    model.check_weights()
    model.load()
    assert model.info
    assert looked == [palm, landmark]


def test_a_missing_file_is_an_error_of_whoever_looks_for_it() -> None:
    def missing() -> WeightsFile:
        raise WeightsError("hand_landmark_full.tflite is missing")

    model = MiddleFinger(palm=located(mediapipe_weights()[0]), landmark=missing, threads=1)
    for refused in (model.check_weights, model.load):
        with pytest.raises(WeightsError, match="hand_landmark_full"):
            refused()


def test_the_two_networks_in_each_other_s_place_are_refused() -> None:
    palm, landmark = map(located, mediapipe_weights())
    with pytest.raises(WeightsError, match=r"hand_landmark_full\.tflite takes no 192 px pictures"):
        MiddleFinger(palm=landmark, landmark=palm, threads=1).load()


def test_a_network_that_answers_in_other_shapes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middle_finger_module, "ANCHOR_CENTRES", np.zeros((896, 2)))
    with pytest.raises(WeightsError, match=r"palm_detection_full\.tflite is another one: .*2016.*896"):
        middle_finger().load()
