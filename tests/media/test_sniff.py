"""Formats are told from bytes."""

import pytest
from pictures import encoded, noise

from streamapp.media.sniff import sniff


@pytest.mark.parametrize(
    ("pillow_format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("AVIF", "image/avif"),
        ("TIFF", None),
        ("ICO", None),
        ("PPM", None),
    ],
)
def test_a_file_is_what_its_first_bytes_say(pillow_format: str, media_type: str | None) -> None:
    assert sniff(encoded(noise(1), pillow_format)) == media_type


def test_an_avif_brand_among_the_compatible_ones_is_enough() -> None:
    assert sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif") == "image/avif"
    assert sniff(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") is None
    # The brand is outside of the box.
    assert sniff(b"\0\0\0\x10ftypmif1\0\0\0\0avif") is None


@pytest.mark.parametrize(
    "content", [b"", b"B", b"BMI is a number", b"<svg/>", b"GIF88a", b"RIFF\0\0\0\0WAVE", b"%PDF-1.7"]
)
def test_other_bytes_are_no_picture(content: bytes) -> None:
    assert sniff(content) is None
