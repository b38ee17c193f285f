"""Videos without a frame, with broken indexes, of absurd lengths and sizes, and that point elsewhere."""

from functools import partial
from pathlib import Path

from adversarial import crafted_videos as crafted
from adversarial.cases import Case, broken, frameless, good, no_media, too_large, unknown
from adversarial.crafted_pictures import box, cut, heic, jpeg, jpeg_of_size, patched, saved
from adversarial.crafted_videos import CLIPS, SAMPLES, changed, clip
from adversarial.internet import Internet, http, sends
from PIL import Image

from streamapp.reasons import Reason, Status

_FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
_HOURS = 3 * 3600 * 10


async def _frames_elsewhere(internet: Internet) -> str:
    """The file that the video names exists, and has the frames at the very offsets: read, it would decode."""
    other = Path(internet.folder()) / "frames"
    other.write_bytes(clip("mov"))
    await internet.serve(sends(http(crafted.with_frames_elsewhere(str(other)))))
    return "http://cdn.example/a.mov"


async def _playlist(text: str, internet: Internet) -> str:
    text = text.format(witness=f"http://127.0.0.1:{internet.witness_port}/a.ts")
    await internet.serve(sends(http(text.encode())))
    return "http://cdn.example/a.mp4"


def _points_to_the_witness(name: str, text: str) -> Case:
    return Case(name, partial(_playlist, text), Status.NOT_MEDIA, Reason.UNKNOWN_FORMAT)


def _large_jpeg() -> bytes:
    return saved(Image.new("L", (9000, 9000)).convert("RGB"), "JPEG")


CASES: tuple[Case, ...] = (
    *(good(f"{name}, ordinary", make) for name, make in CLIPS.items()),
    good("MP4 of one frame", lambda: clip("mp4", (0,))),
    good("WebM of one frame", lambda: clip("webm", (0,))),
    good("MP4 that shows one frame for 3 hours", lambda: clip("mp4", (0, _HOURS))),
    good("WebM that shows one frame for 3 hours", lambda: clip("webm", (0, _HOURS))),
    good("MP4 that begins after an hour", lambda: clip("mp4", (36000, 36001))),
    good("WebM of unknown length", lambda: clip("webm", is_live=True)),
    good("MP4 with a box of stray bytes", lambda: clip() + box(b"free", bytes(10**6))),
    frameless("MP4 with sound alone", crafted.sound),
    frameless("WebM with sound alone", partial(crafted.sound, "webm")),
    broken("MP4 of a brand alone", lambda: _FTYP),
    frameless(
        "MP4 without a track", lambda: changed(clip(), "moov", lambda data: data[: data.index(b"trak") - 4])
    ),
    broken("MP4 without an index", lambda: crafted.without(clip(), b"moov")),
    broken("MP4 without its frames", lambda: crafted.without(clip(), b"mdat")),
    broken("MP4 whose index points behind the end", partial(crafted.with_offsets, 0xFFFFFFF0)),
    broken("MP4 whose index points at its header", partial(crafted.with_offsets, 0)),
    broken(
        "MP4 of 2^32 - 1 frames of no length", partial(crafted.with_claimed_entries, "stsz", 2**32 - 1, 8)
    ),
    good("MP4 that claims 2^32 - 1 offsets", partial(crafted.with_claimed_entries, "stco", 2**32 - 1)),
    no_media(
        "MP4 that claims 2^32 - 1 times",
        partial(crafted.with_claimed_entries, "stts", 2**32 - 1),
        Reason.DECODE_MEMORY,
    ),
    broken(
        "MP4 whose sample description is noise",
        lambda: changed(clip(), f"{SAMPLES}/stsd", lambda data: patched(data, (8, b"\xff" * 60))),
    ),
    unknown(
        "MP4 of a codec that does not exist",
        lambda: changed(clip(), f"{SAMPLES}/stsd", lambda data: patched(data, (12, b"zzzz"))),
    ),
    broken("MP4 with a box that is longer than itself", lambda: patched(clip(), (0, b"\xff\xff\xff\xff"))),
    broken("boxes nested 100,000 deep", lambda: _FTYP + crafted.nested(b"moov", 100_000)),
    too_large("MOV of a frame of 9,000 x 9,000", lambda: crafted.of_jpegs(_large_jpeg())),
    too_large("MOV whose second frame is 9,000 x 9,000", lambda: crafted.of_jpegs(jpeg(), _large_jpeg())),
    broken(
        "MOV whose frame claims to be 65,000 x 65,000", lambda: crafted.of_jpegs(jpeg_of_size(65000, 65000))
    ),
    good("MOV whose track alone is 65,000 x 65,000", partial(crafted.with_track_size, 65000, 65000)),
    Case("MOV whose frames are in another file", _frames_elsewhere, Status.NOT_MEDIA, Reason.BROKEN_FILE),
    unknown("WebM that is transparent", crafted.transparent),
    no_media(
        "HEIC of a still picture and a film",
        lambda: heic() + crafted.only(clip(), b"moov"),
        Reason.POLYGLOT,
    ),
    no_media(
        "sequence of HEVC pictures and a still one",
        lambda: box(b"ftyp", b"hevc\0\0\0\0msf1") + box(b"meta") + crafted.only(clip(), b"moov"),
        Reason.POLYGLOT,
    ),
    *(
        broken(f"{name} cut to {tenths}/10", cut(make, tenths))
        for name, make in CLIPS.items()
        for tenths in range(1, 10)
    ),
    _points_to_the_witness(
        "HLS playlist", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{witness}\n#EXT-X-ENDLIST\n"
    ),
    _points_to_the_witness("DASH manifest", '<?xml version="1.0"?><MPD><BaseURL>{witness}</BaseURL></MPD>'),
    _points_to_the_witness("ffconcat script", "ffconcat version 1.0\nfile {witness}\n"),
    _points_to_the_witness(
        "SDP description", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na=control:{witness}\n"
    ),
    unknown("AVI", lambda: b"RIFF\0\0\1\0AVI LIST" + bytes(300)),
    unknown("FLV", lambda: b"FLV\x01\x05\0\0\0\x09" + bytes(300)),
    unknown("MPEG transport stream", lambda: (b"\x47\x40\0\x10" + bytes(184)) * 10),
    unknown("Ogg", lambda: b"OggS\0\x02" + bytes(300)),
    unknown("MP3", lambda: b"ID3\x04\0\0\0\0\0\0" + bytes(300)),
    unknown("EBML of another kind", lambda: b"\x1aE\xdf\xa3\x88\x42\x82\x85other" + bytes(300)),
)
