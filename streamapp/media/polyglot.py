"""Files that are a picture to one reader and something else to another.

Refused is what another kind of reader opens as its own kind, or what two viewers would show differently:

- the signatures of two formats that are read here, or a HEIC that holds both a picture and a track (of an
  AVIF both are looked at, because animated ones are made so);
- a PDF header among the first 1024 bytes, where PDF readers look for it;
- markup or code there, that a browser or an interpreter may run;
- a ZIP archive (so also a JAR, a DOCX, an APK): a central directory at the place that the end record
  names; and the signature of a RAR or a 7z archive, which their programs look for in any file.

Not refused are bytes behind the picture as cameras write them: motion photos (an MP4 behind a JPEG or a
HEIC), trailers of Samsung and others, the further pictures of a multi-picture JPEG; nor an appended file
that no program looks for there. What no viewer shows needs no moderation.
"""

from streamapp.errors import MediaError
from streamapp.media.boxes import brands
from streamapp.media.sniff import has_meta, has_moov, media_types
from streamapp.reasons import Reason

_BEGINNING_BYTES = 1024
# In lower case.
_MARKUP = (b"<html", b"<!doctype", b"<script", b"<svg", b"<body", b"<iframe", b"<?php")
_ARCHIVES = {"RAR": b"Rar!\x1a\x07", "7z": b"7z\xbc\xaf\x27\x1c"}
_STILLS_WITHOUT_TRACKS = ("image/avif", "image/heic", "image/heif")
_SEQUENCES = ("image/heic-sequence", "image/heif-sequence")

_ZIP_END, _ZIP_ENTRY, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x01\x02", b"PK\x06\x07"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_BYTES = 65_535


def refuse_polyglots(content: bytes) -> None:
    """Pass a file that is one thing only.

    Raises:
        MediaError: polyglot, with what else the file is.
    """
    other = _second_nature(content)
    if other is not None:
        raise MediaError(Reason.POLYGLOT, f"The {media_types(content)[0]} file is also {other}.")


def _second_nature(content: bytes) -> str | None:
    media_type, *others = media_types(content)
    if others:
        return others[0]
    if media_type in _STILLS_WITHOUT_TRACKS and b"avis" not in brands(content) and has_moov(content):
        return "a video"
    if media_type in _SEQUENCES and has_meta(content):
        return "a still picture"
    beginning = content[:_BEGINNING_BYTES].lower()
    if b"%pdf-" in beginning:
        return "a PDF"
    for tag in _MARKUP:
        if tag in beginning:
            return f"a document with {tag.decode()}"
    # A canvas 10,799 pixels wide to GIF readers, the beginning of a comment to JavaScript's.
    if media_type == "image/gif" and content[6:8] == b"/*":
        return "a script"
    if _has_zip(content):
        return "a ZIP archive"
    return next((f"a {name} archive" for name, magic in _ARCHIVES.items() if magic in content), None)


def _has_zip(content: bytes) -> bool:
    """Whether a ZIP reader, which looks for the end record from behind, finds an archive (APPNOTE.TXT)."""
    first = max(len(content) - _ZIP_END_BYTES - _ZIP_COMMENT_BYTES, 0)
    at = content.rfind(_ZIP_END, first)
    while at >= 0:
        directory_bytes = int.from_bytes(content[at + 12 : at + 16], "little")
        if 0 < directory_bytes <= at and content.startswith(_ZIP_ENTRY, at - directory_bytes):
            return True
        if at >= 20 and content.startswith(_ZIP64_LOCATOR, at - 20):
            return True
        at = content.rfind(_ZIP_END, first, at)
    return False
