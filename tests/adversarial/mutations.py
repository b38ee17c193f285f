"""Changes to files, drawn at random: the same ones for the same random state."""

import struct
import zlib
from collections.abc import Callable
from random import Random

from adversarial.crafted_pictures import PNG_SIGNATURE

Mutation = Callable[[Random, bytes, bytes], bytes]
"""Makes of a file, and of another one that it may take bytes from, a changed file."""

_COUNTS = (1, 1, 1, 2, 3, 4)
_MOST_BYTES = 2**20
_SAMPLED_OFFSETS = 400
# Where signs, sizes and table indexes turn over.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_EDGES_32 = (0, 1, 7, 8, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF)


def mutated(random: Random, content: bytes, other: bytes) -> bytes:
    """The file after one to four changes; never longer than 1 MiB."""
    for _ in range(random.choice(_COUNTS)):
        content = random.choice(MUTATIONS)(random, content, other)[:_MOST_BYTES]
    if content.startswith(PNG_SIGNATURE) and random.random() < 0.7:
        content = with_right_crcs(content)
    return content


def flip_bits(random: Random, content: bytes, other: bytes) -> bytes:
    """Turn over up to 8 bits."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def put_edges(random: Random, content: bytes, other: bytes) -> bytes:
    """Put up to 8 bytes at which something turns over."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8) if changed else 0):
        changed[random.randrange(len(changed))] = random.choice(_EDGES)
    return bytes(changed)


def truncate(random: Random, content: bytes, _: bytes) -> bytes:
    """Keep the beginning."""
    return content[: random.randint(0, len(content))]


def remove(random: Random, content: bytes, _: bytes) -> bytes:
    """Take a piece out."""
    start, end = _piece(random, content)
    return content[:start] + content[end:]


def repeat(random: Random, content: bytes, _: bytes) -> bytes:
    """Put a piece several times."""
    start, end = _piece(random, content)
    return content[:start] + content[start:end] * random.randint(2, 20) + content[end:]


def insert_noise(random: Random, content: bytes, _: bytes) -> bytes:
    """Put random bytes in."""
    at = random.randint(0, len(content))
    return content[:at] + random.randbytes(random.randint(1, 64)) + content[at:]


def splice(random: Random, content: bytes, other: bytes) -> bytes:
    """Begin with one file and end with the other."""
    return content[: random.randint(0, len(content))] + other[random.randint(0, len(other)) :]


def graft(random: Random, content: bytes, other: bytes) -> bytes:
    """Put a piece of the other file over this one's bytes."""
    start, end = _piece(random, other)
    at = random.randint(0, len(content))
    return content[:at] + other[start:end] + content[at + end - start :]


def edit_length(random: Random, content: bytes, _: bytes) -> bytes:
    """Change a number that may be a length or an offset: 4 bytes, of either order, that point into the file.

    Chunks, boxes, directories and index tables of all formats here are made of them.
    """
    order = random.choice("<>")
    offsets = range(max(len(content) - 3, 0))
    places = [
        at
        for at in random.sample(offsets, min(len(offsets), _SAMPLED_OFFSETS))
        if 0 < struct.unpack_from(f"{order}I", content, at)[0] <= len(content)
    ]
    if not places:
        return content
    at = random.choice(places)
    value = struct.unpack_from(f"{order}I", content, at)[0]
    edited = random.choice((*_EDGES_32, value + 1, value - 1, value * 2, len(content) - at))
    return content[:at] + struct.pack(f"{order}I", edited & 0xFFFFFFFF) + content[at + 4 :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    put_edges,
    truncate,
    remove,
    repeat,
    insert_noise,
    splice,
    graft,
    edit_length,
    # Twice: what it changes, decoders rely on most.
    edit_length,
)


def with_right_crcs(content: bytes) -> bytes:
    """A PNG whose chunks have the CRC of their bytes, so that what is inside them is looked at."""
    changed, at = bytearray(content), len(PNG_SIGNATURE)
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def _piece(random: Random, content: bytes) -> tuple[int, int]:
    start = random.randint(0, len(content))
    return start, min(len(content), start + random.randint(1, 4096))
