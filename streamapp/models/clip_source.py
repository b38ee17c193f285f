"""Which CLIP: open_clip's name of the network, the weights' file, and what those weights need."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip

from streamapp.errors import SettingsError, WeightsError
from streamapp.models import tiny_clip
from streamapp.models.weights import WeightsFile, require_file

TINY = "tiny"
"""The setting's name for the CLIP in the package."""
OPENAI = "openai"
NO_TAG = "none"


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A CLIP that can be loaded.

    Attributes:
        name: open_clip's name of the network, ``ViT-B-16``.
        tag: open_clip's name of the weights, ``openai``, which says what they need; empty: none.
        own: the file with the weights that the user named.
        locate: finds the weights and checks their digest; raises WeightsError.
        config: open_clip's JSON of a network that open_clip does not know by itself.
        vocabulary: the merges of a tokenizer that is not open_clip's own.
    """

    name: str
    tag: str
    own: Path | None
    locate: Callable[[], WeightsFile] = field(compare=False)
    config: Path | None = None
    vocabulary: Path | None = None

    @property
    def title(self) -> str:
        """What PROVENANCE calls it: ``ViT-B-16/openai``."""
        return f"{self.name}/{self.tag}" if self.tag else self.name

    @property
    def pretrained(self) -> Mapping[str, Any]:
        """What open_clip knows of these weights: mean, std, interpolation, quick_gelu, …"""
        known: Mapping[str, Any] = open_clip.pretrained.get_pretrained_cfg(self.name, self.tag)
        return known


def tiny_source() -> ClipSource:
    """The tiny CLIP that ships in the package; its digest is in the report beside it."""
    folder = tiny_clip.FOLDER

    def locate() -> WeightsFile:
        return require_file(
            folder / tiny_clip.WEIGHTS_FILE,
            what="The tiny CLIP",
            how_to_get="install streamapp again",
            expected_sha256=_tiny_sha256(folder / tiny_clip.REPORT_FILE),
        )

    return ClipSource(
        name=tiny_clip.NAME,
        tag="",
        own=None,
        locate=locate,
        config=folder / tiny_clip.CONFIG_FILE,
        vocabulary=folder / tiny_clip.VOCABULARY_FILE,
    )


def _tiny_sha256(report: Path) -> str:
    try:
        return str(json.loads(report.read_bytes())["evaluation"]["weights"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise WeightsError(
            f"The tiny CLIP's report {report} can't be read ({exc!r}): install streamapp again."
        ) from exc


def open_clip_source(
    model: str, *, own: Path | None, setting: str, locate: Callable[[str], WeightsFile]
) -> ClipSource:
    """A network of open_clip's.

    Args:
        model: open_clip's name, ``ViT-B-16``, which means OpenAI's weights where there are some; or name
            and tag, ``ViT-B-16/laion2b_s34b_b88k``; ``ViT-B-16/none`` for weights that need nothing special.
        own: the user's own file; None: the artifact of that name in the lock file.
        setting: the variable that names the user's own file, for messages.
        locate: finds an artifact of the model store.

    Raises:
        SettingsError: open_clip knows no such network, or no such tag of it.
    """
    name, tag = _name_and_tag(model)
    if name not in open_clip.list_models():
        raise SettingsError(
            f"open_clip has no network {name!r}: give a name of its, such as ViT-B-16 or ViT-L-14, or {TINY}."
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag is None:
        tag = OPENAI if OPENAI in tags else ""
    if tag and tag not in tags:
        known = ", ".join(tags) or "none"
        raise SettingsError(f"open_clip knows no weights {tag!r} of {name}: it knows {known}.")
    if own is not None:
        return ClipSource(name, tag, own, lambda: _own_file(own, name, setting))
    return ClipSource(name, tag, None, lambda: _pinned_file(name, tag, setting, locate))


def _name_and_tag(model: str) -> tuple[str, str | None]:
    """Split a model's name; a slash counts as a dash where that makes a name, as in ``ViT-B/16``."""
    if model.replace("/", "-") in open_clip.list_models():
        return model.replace("/", "-"), None
    name, slash, tag = model.rpartition("/")
    if not slash:
        return model, None
    return name.replace("/", "-"), "" if tag == NO_TAG else tag


def _own_file(path: Path, name: str, setting: str) -> WeightsFile:
    return require_file(path, what=f"{name}'s weights", how_to_get=f"mend {setting}", expected_sha256=None)


def _pinned_file(name: str, tag: str, setting: str, locate: Callable[[str], WeightsFile]) -> WeightsFile:
    """The artifact of OpenAI's weights; the lock file pins no others."""
    from streamapp.models.store import load_lock

    artifact = f"clip-{name.lower()}"
    if tag != OPENAI or artifact not in load_lock():
        raise WeightsError(
            f"No weights {tag or 'without a tag'} of {name} are pinned in streamapp's lock file: "
            f"give their file in {setting}."
        )
    return locate(artifact)
