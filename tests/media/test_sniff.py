"""Formats are told from bytes."""

import pytest
from pictures import encoded, heic, noise
from videos import video

from streamapp.media.sniff import media_types, sniff


@pytest.mark.parametrize(
    ("pillow_format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("AVIF", "image/avif"),
        ("TIFF", "image/tiff"),
        ("ICO", None),
        ("PPM", None),
        ("JPEG2000", None),
    ],
)
def test_a_file_is_what_its_first_bytes_say(pillow_format: str, media_type: str | None) -> None:
    assert sniff(encoded(noise(1), pillow_format)) == media_type


def test_a_heic_is_told_from_other_files_of_its_family() -> None:
    assert sniff(heic(noise(1))) == "image/heic"


@pytest.mark.parametrize(
    ("container", "media_type"),
    [
        ("mp4", "video/mp4"),
        ("mov", "video/quicktime"),
        ("3gp", "video/mp4"),
        ("webm", "video/webm"),
        ("matroska", "video/x-matroska"),
    ],
)
def test_a_video_is_told_by_its_container(container: str, media_type: str) -> None:
    codec = {"3gp": "mpeg4"}.get(container)
    assert sniff(video([noise(1)], container, codec=codec)) == media_type


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return (4 + len(body)).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("content", "media_types_found"),
    [
        (ftyp(b"avif", b"mif1"), ("image/avif",)),
        (ftyp(b"mif1", b"mif1", b"avif"), ("image/avif",)),
        (ftyp(b"avis", b"iso8"), ("image/avif",)),
        (ftyp(b"heix", b"mif1"), ("image/heic",)),
        (ftyp(b"mif1", b"heic"), ("image/heic",)),
        (ftyp(b"mif1", b"miaf"), ("image/heif",)),
        # Without tracks there is no sequence, whatever it calls itself.
        (ftyp(b"msf1", b"hevc"), ("image/heic",)),
        (ftyp(b"msf1", b"hevc") + b"\0\0\0\x08moov", ("image/heic-sequence",)),
        (ftyp(b"hevc", b"mif1") + b"\0\0\0\x08moov", ("image/heic-sequence",)),
        (ftyp(b"isom", b"mp42"), ("video/mp4",)),
        (ftyp(b"M4V "), ("video/mp4",)),
        (ftyp(b"qt  "), ("video/quicktime",)),
        # Browsers would show the one or the other, by the tag that the page has.
        (ftyp(b"isom", b"avif"), ("video/mp4", "image/avif")),
        (ftyp(b"mp42", b"heic"), ("video/mp4", "image/heic")),
        # The brand is outside of the box.
        (b"\0\0\0\x10ftypmif1\0\0\0\0avif", ("image/heif",)),
        (b"\0\0\0\x08moov", ("video/quicktime",)),
        (b"\0\0\0\x09moov", ()),
        (b"what moov is this?", ()),
        (b"II*\0", ("image/tiff",)),
        (b"MM\0*", ("image/tiff",)),
        (b"II+\0\x08\0\0\0", ("image/tiff",)),
        (b"MM\0+\0\x08\0\0", ("image/tiff",)),
        (b"\x1aE\xdf\xa3\x87\x42\x82\x84webm", ("video/webm",)),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x0b\x42\x86\x81\1\x42\x82\x84webm", ("video/webm",)),
        (b"\x1aE\xdf\xa3\x87\x42\x82\x84abcd", ()),
        (b"\x1aE\xdf\xa3", ()),
        (b"\xff\xd8\xff\xe0ftypisom", ("image/jpeg", "video/mp4")),
    ],
)
def test_brands_and_headers_are_read_to_the_byte(content: bytes, media_types_found: tuple[str, ...]) -> None:
    assert media_types(content) == media_types_found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"B",
        b"BMI is a number",
        b"<svg/>",
        b"<!DOCTYPE html>",
        b"GIF88a",
        b"RIFF\0\0\0\0WAVE",
        b"%PDF-1.7",
        b"\0\0\0\x0cftypis",
        b"ID3\4",
    ],
)
def test_other_bytes_are_no_picture(content: bytes) -> None:
    assert sniff(content) is None
