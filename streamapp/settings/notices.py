"""What the worker should say of its settings, though nothing is wrong enough to stop."""

import difflib
from collections.abc import Iterator, Mapping, Sequence

from streamapp.settings.fields import Settings
from streamapp.settings.lookup import KNOWN_NAMES
from streamapp.settings.old_names import AWS_PREFIX, OLD_NAMES, WITHOUT_EFFECT
from streamapp.settings.origins import DEFAULT, Origin
from streamapp.settings.variables import ENV_FILE_VARIABLE, ENVIRONMENT, PREFIX, Place

# A foreign name this like a known one (difflib's ratio) is taken for a slip of the pen.
_TYPO_LIKENESS = 0.85


def notices_of(settings: Settings, origins: Mapping[str, Origin], places: Sequence[Place]) -> Iterator[str]:
    """Sentences for the log, each said once.

    Args:
        origins: field → where its value came from.
        places: the environment and the `.env` file.
    """
    yield from _names_without_effect(places)
    for place in places:
        if place.label != ENVIRONMENT:
            yield from _oddities_of_file(place)
    yield from _gpu_share_cut(origins["clip_gpu_share"])
    yield from _unused_credentials(settings, origins)


def _names_without_effect(places: Sequence[Place]) -> Iterator[str]:
    names = [name for name in WITHOUT_EFFECT if any(place.get(name) for place in places)]
    if names:
        yield f"{' and '.join(names)}: accepted, without effect; rows are composed on the event loop."


def _oddities_of_file(place: Place) -> Iterator[str]:
    if place.get(ENV_FILE_VARIABLE) is not None:
        yield f"{ENV_FILE_VARIABLE} ({place.label}): without effect in the file itself."
    for line, _ in place.broken_lines:
        yield f"{place.label}, line {line}: not NAME=value; left out."
    candidates = {name.upper(): name for name in (*OLD_NAMES, *sorted(KNOWN_NAMES))}
    for variable in place:
        name = variable.name.upper()
        if name in candidates or name.startswith((PREFIX, AWS_PREFIX)):
            continue
        matches = difflib.get_close_matches(name, candidates, n=1, cutoff=_TYPO_LIKENESS)
        if matches:
            yield (
                f"{variable.name} ({place.label}): not a name that is read; "
                f"did you mean {candidates[matches[0]]}?"
            )


def _gpu_share_cut(origin: Origin) -> Iterator[str]:
    if origin.is_old_name and float(origin.written) > 1:
        yield f"{origin.subject}: taken as 1; an instance uses one GPU at most."


def _unused_credentials(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[str]:
    """A client that was given secrets and talks in the clear all the same is worth a warning."""
    unused: list[str] = []
    if settings.security_protocol == "PLAINTEXT":
        unused += ["ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password"]
    if settings.security_protocol != "SASL_SSL":
        unused += ["sasl_username", "sasl_password"]
    given = [origins[field].variable for field in unused if origins[field].place != DEFAULT]
    if given:
        yield f"{', '.join(given)}: not used, for the security protocol is {settings.security_protocol}."
