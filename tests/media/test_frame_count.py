"""How many frames there are, told before one is decoded; and files that say otherwise than they hold."""

import struct
from io import BytesIO

import pytest
from pictures import animation, encoded, noise, png_chunk
from PIL import Image

from streamapp.errors import MediaError
from streamapp.media.decode import Limits, decode
from streamapp.media.frame_count import frame_count, gif_frame_count
from streamapp.reasons import Reason


def frames(count: int) -> list[Image.Image]:
    return [noise(seed, 16, 16, block_px=4) for seed in range(count)]


def counted(content: bytes, media_type: str) -> int:
    with Image.open(BytesIO(content)) as image:
        return frame_count(content, media_type, image)


def reason_of(content: bytes) -> Reason:
    with pytest.raises(MediaError) as caught:
        decode(content, Limits())
    return caught.value.reason


@pytest.mark.parametrize("pillow_format", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_all_frames_are_counted(pillow_format: str, count: int) -> None:
    content = animation(frames(count), pillow_format, 100)
    assert counted(content, f"image/{pillow_format.lower()}") == count


def test_the_default_picture_of_an_animated_png_counts() -> None:
    assert counted(animation(frames(4), "PNG", 100, default_image=True), "image/png") == 4


def test_images_of_a_gif_are_counted_with_comments_tables_and_stray_bytes_between() -> None:
    content = animation(frames(3), "GIF", [100, 200, 300], comment=b"; " * 300)
    assert gif_frame_count(content[:-1] + b"\0\0;") == 3
    assert gif_frame_count(content + b",rubbish") == 3


def test_a_gif_without_its_trailer_is_cut() -> None:
    for content in (encoded(noise(1), "GIF"), animation(frames(3), "GIF", 100)):
        assert reason_of(content[:-1]) is Reason.BROKEN_FILE


def test_an_animated_png_without_its_end_is_cut() -> None:
    with pytest.raises(MediaError, match="cut"):
        decode(animation(frames(3), "PNG", 100)[:-12], Limits())


def test_a_png_without_frames_needs_no_end() -> None:
    content = encoded(noise(1), "PNG")
    assert len(decode(content[:-12], Limits()).frames) == 1


@pytest.mark.parametrize("claimed", [1, 2, 4, 5, 9])
def test_a_png_that_claims_another_count_of_frames_is_a_broken_file(claimed: int) -> None:
    content = animation(frames(3), "PNG", 100)
    at = content.index(b"acTL") - 4
    control = png_chunk(b"acTL", struct.pack(">II", claimed, 0))
    assert reason_of(content[:at] + control + content[at + len(control) :]) is Reason.BROKEN_FILE


def test_a_gif_in_which_the_decoder_loses_a_frame_is_a_broken_file() -> None:
    content = animation(frames(3), "GIF", 100)
    # Pillow reads on past an extension that is empty, and takes the next image for its data.
    at = content.rindex(b"\x21\xf9\x04")
    assert reason_of(content[:at] + b"\x21\xf9\x00" + content[at:]) is Reason.BROKEN_FILE
