"""What a file is, told from its first bytes; its name and its Content-Type are a stranger's claim."""

# Media type → the signatures, as (offset, bytes) pairs that must all be there.
_SIGNATURES: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("image/jpeg", ((0, b"\xff\xd8\xff"),)),
    ("image/png", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("image/gif", ((0, b"GIF87a"),)),
    ("image/gif", ((0, b"GIF89a"),)),
    ("image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
    # Two letters alone would claim plain text; every BMP has a zero in its reserved bytes.
    ("image/bmp", ((0, b"BM"), (6, b"\0\0\0\0"))),
)

_AVIF_BRANDS = (b"avif", b"avis")


def sniff(content: bytes) -> str | None:
    """The media type of a file, ``image/png``; None where it is no format that is read here.

    TIFF is left out on purpose: no browser shows it, and its parser is large.
    """
    for media_type, signature in _SIGNATURES:
        if all(content.startswith(magic, offset) for offset, magic in signature):
            return media_type
    return "image/avif" if _is_avif(content) else None


def _is_avif(content: bytes) -> bool:
    """Whether the leading `ftyp` box (ISO/IEC 14496-12) has an AVIF brand, as its own or a compatible one."""
    if content[4:8] != b"ftyp":
        return False
    # A box has its length in its first 4 bytes; real ones are far shorter than the bound.
    box = content[8 : min(int.from_bytes(content[:4], "big"), 256)]
    brands = [box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))]
    return any(brand in _AVIF_BRANDS for brand in brands)
