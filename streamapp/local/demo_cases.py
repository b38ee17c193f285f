"""What the demo sends, and what must come of it: ordinary pictures and every kind of trouble."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from streamapp.errors import DeadLetterReason
from streamapp.local.demo_pictures import (
    LARGE_SIZE_PX,
    alpha_png,
    animated_gif,
    bomb_png,
    cmyk_jpeg,
    cup_png,
    grey_jpeg,
    heic,
    large_jpeg,
    mp4,
    ordinary_jpeg,
    rotated_jpeg,
    sample,
    sample_bytes,
    webp,
)
from streamapp.local.events import make_event
from streamapp.local.outcomes import Outcome
from streamapp.reasons import Reason, Status
from streamapp.records import ResultRow

_USERS = 12


@dataclass(frozen=True, slots=True)
class ExpectedRow:
    """The outcome is a row with these values; None: not checked.

    Attributes:
        is_flagged: whether the models want a person to look; where there is a reason, one always must.
    """

    reason: Reason | None = None
    media_type: str | None = None
    size_px: tuple[int, int] | None = None
    least_frames: int = 0
    is_flagged: bool = False

    @property
    def status(self) -> Status:
        return Status.PREDICTED if self.reason is None else self.reason.status


@dataclass(frozen=True, slots=True)
class ExpectedDeadLetter:
    """The outcome is a record on the dead-letter topic."""

    reason: DeadLetterReason


@dataclass(frozen=True, slots=True)
class ExpectedNothing:
    """The event is acked and leaves no record."""


Expected = ExpectedRow | ExpectedDeadLetter | ExpectedNothing


@dataclass(frozen=True, slots=True)
class DemoCase:
    """One event of the demo and the outcome that it must have.

    Attributes:
        title: what the table calls it.
        path: name on the picture server; empty where the event names no picture there.
        expected: the outcome.
        content: the file served under ``path``; None: nothing is served there.
        redirect_to: the name that ``path`` redirects to.
        url: the event's image URL where it is not on the picture server.
        user_id: key of the record; for a ``value`` of its own without meaning.
        value: the record's value where it is no event at all.
    """

    title: str
    path: str
    expected: Expected
    content: bytes | None = field(default=None, repr=False)
    redirect_to: str | None = None
    url: str | None = None
    user_id: str | None = None
    value: bytes | None = None

    def record_value(self, url_of: Callable[[str], str]) -> bytes:
        """The record's value, once the picture server's URLs are known."""
        if self.value is not None:
            return self.value
        url = self.url if self.url is not None else url_of(self.path) if self.path else ""
        return make_event(self.user_id, url, username=f"user_{self.user_id}")


def demo_cases(count: int = 40) -> list[DemoCase]:
    """The demo's events in the order in which they are sent, spread over the users.

    Args:
        count: how many at least; ordinary pictures fill up what the special cases leave.
    """
    special = _pictures() + _troubles() + _no_pictures()
    ordinary = [_ordinary(number) for number in range(max(0, count - len(special)))]
    mixed = []
    while special or ordinary:
        mixed += ordinary[:1] + special[:1]
        ordinary, special = ordinary[1:], special[1:]
    return [replace(case, user_id=_user(number)) for number, case in enumerate(mixed)]


def _pictures() -> list[DemoCase]:
    """Every kind of picture that must be read as what it is."""

    def case(
        title: str, path: str, content: bytes, kind: str, size_px: tuple[int, int], frames: int = 1
    ) -> DemoCase:
        media_type = kind if "/" in kind else f"image/{kind}"
        expected = ExpectedRow(media_type=media_type, size_px=size_px, least_frames=frames)
        return DemoCase(title, path, expected, content)

    rotated, upright_size = rotated_jpeg()
    return [
        case("JPEG", "photo.jpg", sample_bytes("astronaut"), "jpeg", sample("astronaut").size),
        _false_positive(),
        case("PNG with alpha", "alpha.png", alpha_png(), "png", sample("chelsea").size),
        case("JPEG, rotated by EXIF", "rotated.jpg", rotated, "jpeg", upright_size),
        case("JPEG, CMYK", "print.jpg", cmyk_jpeg(), "jpeg", sample("astronaut").size),
        case("JPEG, greyscale", "grey.jpg", grey_jpeg(), "jpeg", sample("camera").size),
        case("WebP", "photo.webp", webp(), "webp", sample("rocket").size),
        case("GIF, animated", "animated.gif", animated_gif(), "gif", (320, 240), frames=2),
        case("HEIC", "photo.heic", heic(), "heic", sample("astronaut").size),
        case("MP4", "clip.mp4", mp4(), "video/mp4", (320, 240), frames=2),
        case("JPEG, 24 MP", "large.jpg", large_jpeg(), "jpeg", LARGE_SIZE_PX),
        case("PNG named .jpg", "misnamed.jpg", alpha_png(), "png", sample("chelsea").size),
    ]


def _false_positive() -> DemoCase:
    """A cup of coffee that NudeNet takes for skin, at a score of 0.33; a person has to look at it."""
    content, size_px = cup_png()
    expected = ExpectedRow(media_type="image/png", size_px=size_px, least_frames=1, is_flagged=True)
    return DemoCase("coffee, a false positive", "coffee.png", expected, content)


def _troubles() -> list[DemoCase]:
    """Events whose picture can't be had or can't be read: rows, fail closed."""

    def case(
        title: str,
        path: str,
        reason: Reason,
        content: bytes | None = None,
        *,
        url: str | None = None,
        redirect_to: str | None = None,
    ) -> DemoCase:
        return DemoCase(title, path, ExpectedRow(reason=reason), content, redirect_to, url)

    metadata_service = "http://169.254.169.254/latest/meta-data/"
    truncated = sample_bytes("coffee")[:9_000]
    return [
        case("not there", "gone.jpg", Reason.NOT_FOUND),
        case("text named .png", "notes.png", Reason.UNKNOWN_FORMAT, b"Dear diary,\n" * 40),
        case("JPEG, truncated", "truncated.jpg", Reason.BROKEN_FILE, truncated),
        case("empty file", "empty.png", Reason.EMPTY_FILE, b""),
        case("PNG, 100 MP in 12 kB", "bomb.png", Reason.TOO_MANY_PIXELS, bomb_png()),
        case("blocked address", "", Reason.ADDRESS_BLOCKED, url=metadata_service),
        case("redirect, blocked address", "hop.jpg", Reason.ADDRESS_BLOCKED, redirect_to=metadata_service),
        case("redirect loop", "loop.jpg", Reason.TOO_MANY_REDIRECTS, redirect_to="loop.jpg"),
        case("file: URL", "", Reason.URL_SCHEME, url="file:///etc/passwd"),
    ]


def _no_pictures() -> list[DemoCase]:
    """Records that have no row: a removed picture, and what is no event."""
    no_user = make_event(None, "https://cdn.example.com/picture.jpg")
    return [
        DemoCase("picture removed", "", ExpectedNothing()),
        DemoCase("not JSON", "", ExpectedDeadLetter(DeadLetterReason.NOT_JSON), value=b'{"user_id": "37'),
        DemoCase("no user id", "", ExpectedDeadLetter(DeadLetterReason.NO_USER_ID), value=no_user),
    ]


def _ordinary(number: int) -> DemoCase:
    name, content, size_px = ordinary_jpeg(number)
    expected = ExpectedRow(media_type="image/jpeg", size_px=size_px, least_frames=1)
    return DemoCase(f"JPEG, {name}", f"{number:02d}-{name}.jpg", expected, content)


def _user(number: int) -> str:
    return str(37_217_800 + number % _USERS)


def differences(expected: Expected, outcome: Outcome | None) -> list[str]:
    """What is not as expected, one sentence each; empty where all is well."""
    if isinstance(expected, ExpectedNothing):
        return [] if outcome is None else ["A record came of it and none was expected."]
    if outcome is None:
        return ["No outcome came."]
    if isinstance(expected, ExpectedDeadLetter):
        if outcome.dead_letter != expected.reason:
            return [f"Expected a dead letter, {expected.reason}; got {outcome.dead_letter or 'a row'}."]
        return []
    if outcome.row is None:
        return [f"Expected a row; got a dead letter, {outcome.dead_letter}."]
    return _row_differences(expected, outcome.row)


def _row_differences(expected: ExpectedRow, row: ResultRow) -> list[str]:
    attributes = row.MODEL_ATTRIBUTES
    provenance = attributes.PROVENANCE
    content = provenance.get("content") or {}
    is_failure = expected.reason is not None
    statuses = set(attributes.statuses().values())
    checks: list[tuple[str, object, object]] = [
        ("STATUS", expected.status, statuses.pop() if len(statuses) == 1 else sorted(statuses)),
        ("PREDICTION_SUCCESS", not is_failure, attributes.NN_PREDICTION_SUCCESS),
        ("TO_BE_MODERATED", is_failure or expected.is_flagged, row.TO_BE_MODERATED),
        ("reason", expected.reason, provenance.get("reason")),
    ]
    if expected.media_type is not None:
        checks.append(("media type", expected.media_type, content.get("media_type")))
    if expected.size_px is not None:
        checks.append(("size", expected.size_px, (content.get("width_px"), content.get("height_px"))))
    found = [f"{name}: expected {wanted}, got {got}." for name, wanted, got in checks if wanted != got]
    frames = len(provenance.get("frames") or [])
    if frames < expected.least_frames:
        found.append(f"Expected {expected.least_frames} key frames or more, got {frames}.")
    return found
