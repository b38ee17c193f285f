"""A picture that is something else besides is refused; what cameras append is not."""

import io
import struct
import zipfile

import pytest
from pictures import encoded, heic, noise, png_chunk
from videos import video

from streamapp.errors import MediaError
from streamapp.media.polyglot import refuse_polyglots
from streamapp.reasons import Reason

JPEG = encoded(noise(1), "JPEG")
PNG = encoded(noise(1), "PNG")
GIF = encoded(noise(1), "GIF")
MP4 = video([noise(1)])
HEIC = heic(noise(1))


def archive(comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil")
        file.comment = comment
    return buffer.getvalue()


def with_comment(jpeg: bytes, comment: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]


def with_text(png: bytes, text: bytes) -> bytes:
    return png[:33] + png_chunk(b"tEXt", b"Comment\0" + text) + png[33:]


@pytest.mark.parametrize(
    ("content", "other"),
    [
        (JPEG + archive(), "a ZIP archive"),
        (JPEG + archive(b"x" * 60_000), "a ZIP archive"),
        (JPEG + archive() + b"trailing bytes", "a ZIP archive"),
        (PNG + archive(), "a ZIP archive"),
        (MP4 + archive(), "a ZIP archive"),
        # A reader takes the last record whose directory is there.
        (JPEG + archive() + b"PK\x05\x06" + bytes(18), "a ZIP archive"),
        (JPEG + b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + b"\xff" * 18, "a ZIP archive"),
        (JPEG + b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (with_comment(JPEG, b"7z\xbc\xaf\x27\x1c"), "a 7z archive"),
        (with_comment(JPEG, b"%PDF-1.7"), "a PDF"),
        (with_comment(JPEG, b"<HTML><script>"), "a document with <html"),
        (with_text(PNG, b"<?php system($_GET[0]); ?>"), "a document with <?php"),
        (b"GIF89a/*" + GIF[8:] + b"*/=1;alert(1)", "a script"),
        (b"\xff\xd8\xff\xe0ftypisom" + MP4[12:], "video/mp4"),
        (b"\0\0\0\x14ftypisom\0\0\0\0avif" + MP4, "video/mp4 file is also image/avif"),
        # A still picture whose file has a film, too: an `img` shows the one and a `video` the other.
        (HEIC + MP4[MP4.index(b"moov") - 4 :], "a video"),
        (encoded(noise(1), "AVIF") + MP4[MP4.index(b"moov") - 4 :], "a video"),
        # A sequence of pictures and a still besides: viewers show the one or the other.
        (b"\0\0\0\x14ftypmsf1\0\0\0\0hevc\0\0\0\x08meta" + MP4[MP4.index(b"moov") - 4 :], "a still picture"),
    ],
)
def test_a_file_of_two_natures_is_refused(content: bytes, other: str) -> None:
    with pytest.raises(MediaError, match=other.replace("?", r"\?")) as caught:
        refuse_polyglots(content)
    assert caught.value.reason is Reason.POLYGLOT


def animated_avif() -> bytes:
    return encoded(noise(1), "AVIF", save_all=True, append_images=[noise(2)])


@pytest.mark.parametrize(
    "content",
    [
        JPEG,
        PNG,
        MP4,
        HEIC,
        animated_avif(),
        # A motion photo: the film begins behind the picture.
        JPEG + MP4,
        HEIC + MP4,
        HEIC + struct.pack(">I4s", 8 + len(MP4), b"mpvd") + MP4,
        # Samsung's trailer, and a multi-picture JPEG.
        JPEG + b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1700000000000" + b"SEFH\x6b\0\0\0\1\0\0\0" + b"SEFT",
        encoded(noise(1), "MPO", save_all=True, append_images=[noise(2)]),
        # Camera software writes XML and links into what it says of a picture.
        with_comment(JPEG, b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'),
        with_comment(JPEG, b"see http://example.com/a?b=<c>"),
        # Pieces of a ZIP that no reader opens.
        JPEG + b"PK\x05\x06" + bytes(18),
        JPEG + b"PK\x01\x02" + bytes(100),
        # Where no program looks for it.
        JPEG + bytes(1024) + b"%PDF-1.7 <html>",
        # No viewer looks behind the end.
        JPEG + PNG,
        GIF + GIF,
    ],
)
def test_one_picture_with_what_cameras_append_is_no_polyglot(content: bytes) -> None:
    refuse_polyglots(content)
