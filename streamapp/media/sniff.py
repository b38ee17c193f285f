"""What a file is, told from its first bytes; its name and its Content-Type are a stranger's claim."""

from streamapp.media.boxes import Box, brands, ebml_doctype, top_level_boxes

# Media type → the signatures, as (offset, bytes) pairs that must all be there.
_SIGNATURES: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("image/jpeg", ((0, b"\xff\xd8\xff"),)),
    ("image/png", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("image/gif", ((0, b"GIF87a"),)),
    ("image/gif", ((0, b"GIF89a"),)),
    ("image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
    # Two letters alone would claim plain text; every BMP has a zero in its reserved bytes.
    ("image/bmp", ((0, b"BM"), (6, b"\0\0\0\0"))),
    ("image/tiff", ((0, b"II*\0"),)),
    ("image/tiff", ((0, b"MM\0*"),)),
    # BigTIFF, with offsets of 8 bytes.
    ("image/tiff", ((0, b"II+\0\x08\0\0\0"),)),
    ("image/tiff", ((0, b"MM\0+\0\x08\0\0"),)),
)

_EBML = b"\x1aE\xdf\xa3"
_EBML_TYPES = {b"webm": "video/webm", b"matroska": "video/x-matroska"}

# Brands of ISO base media files that show pictures (ISO/IEC 23008-12, AV1 Image File Format).
_AVIF_BRANDS = (b"avif", b"avis")
_HEVC_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis")
_HEVC_SEQUENCE_BRANDS = (b"hevc", b"hevx", b"hevm", b"hevs")
_HEIF_BRANDS = (*_HEVC_STILL_BRANDS, *_HEVC_SEQUENCE_BRANDS)
# These say only that a file is built like a HEIF file; what is in it, another brand says.
_NEUTRAL_BRANDS = (b"mif1", b"mif2", b"msf1", b"miaf")

# QuickTime files of before `ftyp` begin with one of these.
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip")


def sniff(content: bytes) -> str | None:
    """The media type of a file, ``image/png``; None where it is no format that is read here."""
    return next(iter(media_types(content)), None)


def media_types(content: bytes) -> tuple[str, ...]:
    """Every media type that a reader could take the file for by its first bytes, best first.

    More than one only for a file that was made to deceive.
    """
    found = [
        media_type
        for media_type, signature in _SIGNATURES
        if all(content.startswith(magic, offset) for offset, magic in signature)
    ]
    if content.startswith(_EBML) and (doctype := ebml_doctype(content)) in _EBML_TYPES:
        found.append(_EBML_TYPES[doctype])
    if content[4:8] == b"ftyp":
        found.extend(_by_brands(brands(content), content))
    elif content[4:8] in _OLD_QUICKTIME and _is_whole(next(top_level_boxes(content), None), content):
        found.append("video/quicktime")
    return tuple(found)


def has_moov(content: bytes) -> bool:
    """Whether an ISO base media file holds tracks."""
    return b"moov" in _own_boxes(content)


def has_meta(content: bytes) -> bool:
    """Whether an ISO base media file holds items, which are still pictures."""
    return b"meta" in _own_boxes(content)


def _own_boxes(content: bytes) -> list[bytes]:
    """The kinds of the file's boxes, before another file that may be appended to it."""
    kinds = [box.kind for box in top_level_boxes(content)]
    end = kinds.index(b"ftyp", 1) if b"ftyp" in kinds[1:] else len(kinds)
    return kinds[:end]


def _by_brands(found: tuple[bytes, ...], content: bytes) -> tuple[str, ...]:
    """The major brand decides; a neutral one leaves it to the compatible ones."""
    if not found or len(found[0]) < 4:
        return ()
    major = found[0]
    is_avif = any(brand in _AVIF_BRANDS for brand in found)
    if major in _AVIF_BRANDS or (major in _NEUTRAL_BRANDS and is_avif):
        return ("image/avif",)
    is_hevc = any(brand in _HEIF_BRANDS for brand in found)
    if major in _HEIF_BRANDS or major in _NEUTRAL_BRANDS:
        picture = "image/heic" if is_hevc else "image/heif"
        is_sequence = any(brand in (*_HEVC_SEQUENCE_BRANDS, b"msf1") for brand in found)
        return (f"{picture}-sequence" if is_sequence and has_moov(content) else picture,)
    video = "video/quicktime" if major == b"qt  " else "video/mp4"
    if is_avif:
        return (video, "image/avif")
    return (video, "image/heic") if is_hevc else (video,)


def _is_whole(box: Box | None, content: bytes) -> bool:
    return box is not None and box.end <= len(content)
