from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudenet import NudeDetector
from PIL import Image

from streamapp.errors import ModelError, SettingsError
from streamapp.media import Frame
from streamapp.models.nudenet import ChannelOrder, NudeNet, NudeNetFinding, PreparedFrame
from streamapp.models.nudenet_detections import LABELS, Tensor
from streamapp.policy import NudeNetPolicy, load_policy
from streamapp.reasons import Reason


def skimage_data() -> Path:
    spec = find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data"


DATA = skimage_data()
POLICY = load_policy().nudenet


def make(
    channel_order: ChannelOrder = "rgb",
    policy: NudeNetPolicy = POLICY,
) -> NudeNet:
    return NudeNet(weights=None, channel_order=channel_order, threads=2, policy=policy)


@pytest.fixture(scope="module")
def rgb() -> NudeNet:
    model = make("rgb")
    model.load()
    model.warm_up()
    return model


@pytest.fixture(scope="module")
def as_package() -> NudeNet:
    model = make("package")
    model.load()
    return model


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.open(DATA / "astronaut.png").convert("RGB")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, astronaut: Image.Image) -> list[Path]:
    """Pictures in many sizes, shapes and places of the face; the first seven as scikit-image has them."""
    made = {
        "odd_landscape": astronaut.resize((701, 463)),
        "odd_portrait": astronaut.resize((463, 701)),
        "smaller_than_the_input": astronaut.resize((233, 233)),
        "large": astronaut.resize((1801, 1799)),
        "banner": astronaut.crop((0, 60, 512, 260)),
        "column": astronaut.crop((130, 0, 330, 511)),
        "face_at_the_edge": astronaut.crop((190, 70, 489, 399)),
        "face_filling": astronaut.crop((150, 40, 301, 221)),
        "mirrored": astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "lying": astronaut.transpose(Image.Transpose.ROTATE_90),
        "tilted": astronaut.rotate(17, expand=True),
        "far_away": Image.new("RGB", (1023, 611), "white"),
    }
    made["far_away"].paste(astronaut.resize((401, 401)), (600, 200))
    folder = tmp_path_factory.mktemp("pictures")
    names = ("astronaut", "camera", "color", "moon", "phantom", "chelsea", "motorcycle_left")
    paths = [DATA / f"{name}.png" for name in names]
    for name, picture in made.items():
        paths.append(folder / f"{name}.png")
        picture.save(paths[-1])
    return paths


def frame(picture: Image.Image, scale: float = 1.0) -> Frame:
    return Frame(np.ascontiguousarray(picture.convert("RGB")), scale=scale)


def plain(red: int, green: int, blue: int, width: int = 64, height: int = 64) -> Frame:
    return frame(Image.new("RGB", (width, height), (red, green, blue)))


def look(model: NudeNet, picture: Frame) -> NudeNetFinding:
    prepared = model.prepare(picture)
    (raw,) = model.infer([prepared])
    return model.finish(raw, prepared)


def finding(label: str, score: float, policy: NudeNetPolicy = POLICY) -> NudeNetFinding:
    """What the model finds where the network answers with just this one anchor."""
    raw = np.zeros((4 + len(LABELS), 2100), np.float32)
    raw[:4, 5] = (100, 100, 50, 50)
    raw[4 + LABELS.index(label), 5] = score
    return make(policy=policy).finish(raw, prepared_black())


def prepared_black() -> PreparedFrame:
    return PreparedFrame(np.zeros((3, 320, 320), np.float32), 320, 320, 1.0)


def test_scores_and_boxes_are_those_of_the_nudenet_package(as_package: NudeNet, files: list[Path]) -> None:
    package = NudeDetector()
    files_with_detections = 0
    for path in files:
        with Image.open(path) as picture:
            ours = look(as_package, frame(picture)).detections
        theirs = package.detect(str(path))
        assert [d.label for d in ours] == [d["class"] for d in theirs], path.name
        assert [d.score for d in ours] == pytest.approx([d["score"] for d in theirs], abs=1e-3), path.name
        boxes, their_boxes = [d.box_px for d in ours], [d["box"] for d in theirs]
        np.testing.assert_allclose(
            np.reshape(boxes, (-1, 4)), np.reshape(their_boxes, (-1, 4)), rtol=0, atol=1, err_msg=path.name
        )
        files_with_detections += bool(theirs)
    assert len(files) >= 10
    assert files_with_detections >= 0.7 * len(files), "too few detections: the agreement proves nothing"


@pytest.fixture(scope="module")
def singles(rgb: NudeNet, files: list[Path]) -> list[tuple[PreparedFrame, Tensor]]:
    prepared = [rgb.prepare(frame(Image.open(path))) for path in files[::3]]
    return [(one, rgb.infer([one])[0]) for one in prepared]


@settings(max_examples=15, deadline=None)
@given(picks=st.lists(st.integers(0, 6), min_size=2, max_size=8))
def test_a_frame_s_answer_does_not_depend_on_its_neighbours(
    rgb: NudeNet, singles: list[tuple[PreparedFrame, Tensor]], picks: list[int]
) -> None:
    raws = rgb.infer([singles[pick][0] for pick in picks])
    assert len(raws) == len(picks)
    for pick, raw in zip(picks, raws, strict=True):
        prepared, alone = singles[pick]
        np.testing.assert_allclose(raw[4:], alone[4:], rtol=0, atol=1e-5)
        # Boxes are in pixels, up to 320: relative to that the same 1e-5.
        np.testing.assert_allclose(raw[:4], alone[:4], rtol=0, atol=1e-5 * 320)
        scores = [d.score for d in rgb.finish(raw, prepared).detections]
        assert scores == pytest.approx([d.score for d in rgb.finish(alone, prepared).detections], abs=1e-5)


def test_rgb_feeds_red_first_and_package_feeds_blue_first() -> None:
    red = plain(255, 0, 0)
    assert make("rgb").prepare(red).tensor.mean(axis=(1, 2)).tolist() == [1.0, 0.0, 0.0]
    assert make("package").prepare(red).tensor.mean(axis=(1, 2)).tolist() == [0.0, 0.0, 1.0]


def test_the_two_channel_orders_score_a_photo_differently(
    rgb: NudeNet, as_package: NudeNet, astronaut: Image.Image
) -> None:
    (face,) = look(rgb, frame(astronaut)).detections
    (same_face,) = look(as_package, frame(astronaut)).detections
    assert face.label == same_face.label == "FACE_FEMALE"
    assert abs(face.score - same_face.score) > 0.01


def test_the_frame_stands_in_the_top_left_corner_and_the_rest_is_black() -> None:
    tensor = make().prepare(plain(255, 255, 255, width=640, height=160)).tensor
    assert tensor.shape == (3, 320, 320) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert (tensor[:, :80] == 1).all() and (tensor[:, 80:] == 0).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (2, 3), (320, 320), (512, 512)])
def test_a_degenerate_frame_gets_a_finding(rgb: NudeNet, width: int, height: int) -> None:
    for shade in (0, 255):
        found = look(rgb, plain(shade, shade, shade, width, height))
        assert 0.0 <= found.unsafe_score <= 1.0
        for detection in found.detections:
            left, top, box_width, box_height = detection.box_px
            assert 0 <= left <= left + box_width <= width and 0 <= top <= top + box_height <= height


def test_boxes_are_in_the_file_s_pixels_where_the_frame_was_scaled_down(
    rgb: NudeNet, astronaut: Image.Image
) -> None:
    (plain_box,) = look(rgb, frame(astronaut)).detections
    (scaled_box,) = look(rgb, frame(astronaut, scale=3.0)).detections
    assert scaled_box.box_px == pytest.approx([3 * edge for edge in plain_box.box_px])


def test_a_photo_of_a_face_is_safe(rgb: NudeNet, astronaut: Image.Image) -> None:
    found = look(rgb, frame(astronaut))
    assert [d.label for d in found.detections] == ["FACE_FEMALE"]
    assert found.unsafe_score == 0.0 and not found.is_unsafe


def test_a_picture_that_the_network_takes_for_an_exposed_part_is_to_be_moderated(rgb: NudeNet) -> None:
    # A colour wheel: a false alarm of this network, and so a harmless picture with a real detection.
    found = look(rgb, frame(Image.open(DATA / "color.png")))
    assert found.unsafe_score > 0.25
    assert rgb.judge({"nudenet": [found]}).to_be_moderated


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_an_error_of_the_model(value: float) -> None:
    raw = np.zeros((22, 2100), np.float32)
    raw[7, 1234] = value
    with pytest.raises(ModelError) as caught:
        make().finish(raw, prepared_black())
    assert caught.value.reason is Reason.MODEL_NOT_FINITE


def test_the_unsafe_score_is_the_highest_of_an_unsafe_class() -> None:
    raw = np.zeros((22, 2100), np.float32)
    for column, (label, score) in enumerate(
        [("FACE_MALE", 0.875), ("ANUS_EXPOSED", 0.375), ("BUTTOCKS_EXPOSED", 0.5)]
    ):
        raw[:4, column] = (50 + 90 * column, 50, 40, 40)
        raw[4 + LABELS.index(label), column] = score
    found = make().finish(raw, prepared_black())
    assert len(found.detections) == 3
    assert found.unsafe_score == 0.5


def test_a_class_s_own_threshold_decides_and_the_unsafe_score_is_reported_all_the_same() -> None:
    strict = NudeNetPolicy({"ANUS_EXPOSED": 0.25, "BUTTOCKS_EXPOSED": 0.625})
    below = finding("BUTTOCKS_EXPOSED", 0.5, strict)
    assert below.unsafe_score == 0.5 and not below.is_unsafe
    assert finding("BUTTOCKS_EXPOSED", 0.625, strict).is_unsafe
    assert finding("ANUS_EXPOSED", 0.5, strict).is_unsafe


def test_one_unsafe_frame_is_enough_for_the_picture() -> None:
    findings = [finding("FACE_MALE", 0.75), finding("ANUS_EXPOSED", 0.5), finding("FACE_MALE", 0.75)]
    verdict = make().judge({"nudenet": findings})
    assert verdict.to_be_moderated
    assert verdict.columns == {
        "NN_SAFE_SCORES": "1.0000, 0.5000, 1.0000",
        "NN_UNSAFE_SCORES": "0.0000, 0.5000, 0.0000",
    }


def test_a_picture_of_safe_frames_is_not_to_be_moderated() -> None:
    assert not make().judge({"nudenet": [finding("FACE_MALE", 0.75)] * 2}).to_be_moderated


@given(score=st.floats(0.0, 1.0, width=32))
def test_the_safe_and_the_unsafe_column_add_up_to_one(score: float) -> None:
    verdict = make().judge({"nudenet": [NudeNetFinding((), score, False)]})
    safe, unsafe = (float(verdict.columns[f"NN_{kind}_SCORES"]) for kind in ("SAFE", "UNSAFE"))
    assert round(safe + unsafe, 6) == 1.0


def test_provenance_gets_label_score_and_box_of_each_detection() -> None:
    assert make().describe(finding("FACE_MALE", 0.75)) == [
        {"label": "FACE_MALE", "score": 0.75, "box": [75.0, 75.0, 50.0, 50.0]}
    ]


def test_a_policy_with_a_class_that_nudenet_has_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="BREAST_EXPOSED"):
        make(policy=NudeNetPolicy({"BREAST_EXPOSED": 0.5}))


def test_a_threshold_that_no_detection_can_fall_below_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"ANUS_EXPOSED is 0\.2"):
        make(policy=NudeNetPolicy({"ANUS_EXPOSED": 0.2}))
