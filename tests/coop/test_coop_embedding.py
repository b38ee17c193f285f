from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import draw_folders

from streamapp.coop.embedding import Views, embed_pictures, random_crop
from streamapp.coop.pictures import LabelledPictures, read_pictures
from streamapp.errors import StreamappError
from streamapp.models.clip_network import ClipNetwork


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> LabelledPictures:
    return read_pictures(draw_folders(tmp_path_factory.mktemp("shapes"), 4))


def test_each_row_is_its_own_picture(clip: ClipNetwork, pictures: LabelledPictures) -> None:
    together = embed_pictures(clip, pictures.files, pictures.labels).embedded
    assert together.vectors.shape == (24, 1, clip.width)
    assert together.labels.tolist() == pictures.labels.tolist()
    for number in (0, 9, 23):
        alone = embed_pictures(clip, [pictures.files[number]], pictures.labels[[number]]).embedded
        assert torch.allclose(together.vectors[number], alone.vectors[0], atol=1e-5)


def test_the_first_view_is_the_picture_as_it_is(clip: ClipNetwork, pictures: LabelledPictures) -> None:
    plain = embed_pictures(clip, pictures.files[:5], pictures.labels[:5]).embedded.vectors
    views = embed_pictures(clip, pictures.files[:5], pictures.labels[:5], Views(count=3)).embedded.vectors
    assert views.shape == (5, 4, clip.width)
    assert torch.allclose(views[:, :1], plain, atol=1e-5)
    assert (views[:, 1:] - plain).abs().amax(dim=-1).min() > 1e-3
    assert torch.allclose(views.norm(dim=-1), torch.ones(5, 4), atol=1e-5)


def test_a_broken_file_is_left_out_and_named(
    clip: ClipNetwork, pictures: LabelledPictures, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    files = [pictures.files[0], broken, pictures.files[-1]]
    counted: list[None] = []
    found = embed_pictures(
        clip, files, np.array([0, 3, 5]), Views(count=2), on_picture=lambda: counted.append(None)
    )
    assert found.embedded.labels.tolist() == [0, 5]
    assert found.embedded.vectors.shape[:2] == (2, 3)
    assert list(found.unreadable) == [broken]
    assert len(counted) == 3
    with pytest.raises(StreamappError, match=r"None of 1 pictures can be read, such as .*broken\.png"):
        embed_pictures(clip, [broken], np.array([0]))


def test_crops_depend_on_the_seed_and_keep_their_share() -> None:
    # Each pixel holds its place, so that a crop's corners say what was cut.
    rows, columns = np.mgrid[0:200, 0:100].astype(np.uint8)
    pixels = np.dstack([rows, columns, columns])
    first, again, other = (random_crop(pixels, 64, 0.5, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for seed in range(50):
        crop = random_crop(pixels, 64, 0.5, np.random.default_rng(seed)).astype(int)
        height, width = np.ptp(crop[..., 0]) + 1, np.ptp(crop[..., 1]) + 1
        # A wide crop of a narrow picture is cut at its edges.
        assert height * width >= 0.4 * 200 * 100
