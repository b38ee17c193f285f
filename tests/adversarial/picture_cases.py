"""Pictures that are broken, empty, or more than they seem; and odd ones that are in order."""

import gzip
import random
import struct
from dataclasses import replace
from functools import partial
from io import BytesIO
from zipfile import ZipFile

from adversarial import crafted_pictures as crafted
from adversarial import crafted_tiffs
from adversarial.cases import Case, broken, frameless, good, no_media, unknown
from adversarial.crafted_pictures import (
    chunk,
    cut,
    gif_image,
    gif_of,
    header,
    jpeg_with,
    patched,
    png_of,
    png_with,
    rows,
    saved,
    segment,
)
from PIL import Image

from streamapp.reasons import Reason


def _zip() -> bytes:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    return buffer.getvalue()


def _pdf() -> bytes:
    return b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def _palette_with_transparency() -> bytes:
    return png_of(
        header(4, 4, depth=8, colours=3),
        chunk(b"PLTE", bytes(range(12))),
        chunk(b"tRNS", b"\0\x80"),
        rows(4, 4, 1, value=1),
    )


def _sixteen_bit_tiff() -> bytes:
    return saved(Image.new("I;16", (32, 32), 40000), "TIFF")


GOOD = (
    *(good(f"{name}, ordinary", make) for name, make in crafted.STILLS.items()),
    *(
        good(f"{name}, animated", partial(crafted.animated, name.upper(), 3))
        for name in ("PNG", "GIF", "WebP", "AVIF")
    ),
    good("JPEG, progressive", partial(crafted.jpeg, progressive=True)),
    good("JPEG, gray", lambda: saved(crafted.blocks(mode="L"), "JPEG")),
    good("JPEG, CMYK", lambda: saved(crafted.blocks(mode="CMYK"), "JPEG")),
    good("PNG of 1 bit", lambda: saved(crafted.blocks(mode="1"), "PNG")),
    good("PNG of 16 bits, gray", lambda: png_of(header(8, 8, 16, 0), rows(8, 8, 2))),
    good("PNG of 16 bits, RGB", lambda: png_of(header(8, 8, 16, 2), rows(8, 8, 6))),
    good("PNG of 16 bits, RGBA", lambda: png_of(header(8, 8, 16, 6), rows(8, 8, 8))),
    good("PNG with a palette and transparency", _palette_with_transparency),
    good("PNG, interlaced", lambda: png_of(header(1, 1, interlaced=1), rows(1, 1, 3))),
    good("PNG of one pixel", lambda: png_of(header(1, 1), rows(1, 1, 3))),
    good("TIFF of 16 bits", _sixteen_bit_tiff),
    good("TIFF, deflated", partial(crafted.tiff, compression="tiff_adobe_deflate")),
    good("TIFF, LZW", partial(crafted.tiff, compression="tiff_lzw")),
    good("JPEG followed by stray bytes", lambda: crafted.jpeg() + bytes(100)),
)

EMPTY = (
    no_media("a file of no bytes", lambda: b"", Reason.EMPTY_FILE),
    broken("PNG of no width", lambda: png_of(header(0, 8), rows(1, 8, 3))),
    broken("PNG of no size", lambda: png_of(header(0, 0), rows(1, 1, 3))),
    broken("JPEG of no height", lambda: crafted.jpeg_of_size(96, 0)),
    broken("GIF of no size", lambda: gif_of(0, 0, gif_image(0, 0))),
    broken("BMP of no size", lambda: crafted.bmp_of_size(0, 0)),
    broken("AVIF of no size", lambda: crafted.with_claimed_size(crafted.avif(), 0, 0)),
    broken("HEIC of no size", lambda: crafted.with_claimed_size(crafted.heic(), 0, 0)),
    broken("TIFF of no size", lambda: crafted_tiffs.of_size(0, 0)),
    frameless("GIF without an image", lambda: gif_of(8, 8)),
    frameless("GIF of comments alone", lambda: gif_of(8, 8, b"\x21\xfe\x03abc\0" * 100)),
    *(
        broken(f"{name} of its signature alone", lambda length=length, make=make: make()[:length])
        for name, make, length in (
            ("JPEG", crafted.jpeg, 3),
            ("PNG", crafted.png, 8),
            ("GIF", crafted.gif, 6),
            ("WebP", crafted.webp, 12),
            ("TIFF", crafted.tiff, 8),
            ("BMP", crafted.bmp, 14),
        )
    ),
    unknown("a file of one byte", lambda: b"\xff"),
    unknown("a file of zeros", lambda: bytes(5000)),
)

BROKEN = (
    *(
        broken(f"{name} cut to {tenths}/10", cut(make, tenths))
        for name, make in crafted.STILLS.items()
        for tenths in range(1, 10)
    ),
    broken("animated GIF cut to 9/10", cut(partial(crafted.gif, 3), 9)),
    broken("animated PNG cut to 9/10", cut(partial(crafted.animated, "PNG", 3), 9)),
    broken("animated WebP cut to 9/10", cut(partial(crafted.animated, "WEBP", 3), 9)),
    broken("PNG with a wrong CRC in its header", lambda: patched(crafted.png(), (29, b"\0\0\0\0"))),
    good(
        "PNG with a wrong CRC in its pixels",
        lambda: patched(crafted.png(), (len(crafted.png()) - 16, b"\0\0\0\0")),
    ),
    broken(
        "PNG whose pixels are noise",
        lambda: png_of(header(8, 8), chunk(b"IDAT", random.Random(4).randbytes(300))),
    ),
    broken("PNG without pixels", lambda: png_of(header(8, 8))),
    broken("PNG with fewer pixels than it claims", lambda: png_of(header(100, 100), rows(10, 10, 3))),
    broken("PNG without a palette", lambda: png_of(header(8, 8, colours=3), rows(8, 8, 1))),
    broken("PNG of an unknown colour type", lambda: png_of(header(8, 8, colours=5), rows(8, 8, 3))),
    broken("PNG with a chunk of 4 GB", lambda: patched(png_with(chunk(b"teXt", b"a")), (33, b"\xff" * 4))),
    broken(
        "JPEG without tables",
        lambda: crafted.jpeg()[:2] + crafted.jpeg()[crafted.jpeg().index(b"\xff\xc0") :],
    ),
    broken("GIF without a trailer", lambda: gif_of(1, 1, gif_image(), trailer=b"")),
    broken(
        "TIFF whose directory is itself's successor",
        lambda: patched(crafted.tiff(), (4, struct.pack("<I", 0xFFFFFFF0))),
    ),
    broken("HEIC of a brand alone", lambda: crafted.box(b"ftyp", b"heic\0\0\0\0mif1heic")),
    broken("AVIF of a brand alone", lambda: crafted.box(b"ftyp", b"avif\0\0\0\0mif1avif")),
)

OTHERS = (
    no_media(
        "TIFF of a rare compression",
        lambda: crafted_tiffs.of_size(16, 16, compression=34676),
        Reason.UNKNOWN_FORMAT,
    ),
    unknown(
        "SVG", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>'
    ),
    unknown(
        "SVG with a document type",
        lambda: (
            b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'
        ),
    ),
    unknown("SVG, gzipped", lambda: gzip.compress(b"<svg/>", mtime=0)),
    unknown("PDF", _pdf),
    unknown(
        "PostScript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/etc/passwd) (r) file\n"
    ),
    unknown("ZIP", _zip),
    unknown("PSD", lambda: b"8BPS\0\x01" + bytes(100)),
    unknown("ICO", lambda: b"\0\0\x01\0\x01\0" + bytes(100)),
    unknown("JPEG 2000", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
    unknown("plain text that begins with BM", lambda: b"BMW is a make of cars, and this a sentence."),
    unknown("an executable", lambda: b"\x7fELF\x02\x01\x01" + bytes(100)),
    unknown("a pickle", lambda: b"\x80\x04\x95\x0c\0\0\0\0\0\0\0\x8c\x02os\x94."),
    unknown("a picture after a line break", lambda: b"\n" + crafted.PNG_SIGNATURE),
    unknown("a UTF-16 page", lambda: "<html>".encode("utf-16")),
)

POLYGLOTS = (
    no_media("PNG with a ZIP behind it", lambda: crafted.png() + _zip(), Reason.POLYGLOT),
    no_media("JPEG with a ZIP behind it", lambda: crafted.jpeg() + _zip(), Reason.POLYGLOT),
    no_media("GIF with a JAR behind it", lambda: crafted.gif() + _zip(), Reason.POLYGLOT),
    no_media("JPEG that is a PDF", lambda: jpeg_with(segment(0xFE, _pdf())), Reason.POLYGLOT),
    no_media(
        "JPEG that is an HTML page",
        lambda: jpeg_with(segment(0xFE, b"<html><script>alert(1)")),
        Reason.POLYGLOT,
    ),
    no_media(
        "GIF that is JavaScript", lambda: b"GIF89a/*" + crafted.gif()[8:] + b"*/=1;alert(1)", Reason.POLYGLOT
    ),
)

CRASHES = tuple(
    replace(
        no_media(f"PNG {what}", crafted.png, Reason.DECODER_CRASHED),
        loader=f"adversarial.failing_decoders:{loader}",
    )
    for what, loader in (
        ("on which the decoder crashes", "segfaulting"),
        ("on which the decoder aborts", "aborting"),
        ("for which the kernel kills the decoder", "killed"),
        ("on which the decoder raises", "raising"),
    )
)

CASES: tuple[Case, ...] = (*GOOD, *EMPTY, *BROKEN, *OTHERS, *POLYGLOTS, *CRASHES)
