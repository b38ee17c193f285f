"""The concepts: one per emoji, with its name, keywords and place in Unicode's order."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.tiny_clip.fetch_data import package_folder
from training.tiny_clip.sources import PACKAGES

CONCEPTS_FILE = "concepts.json"

_COMPONENTS_GROUP, _FLAGS_GROUP = 2, 9
# Signs that are letters, plain shapes or arrows: their art says nothing that a picture could show.
_LEFT_OUT_SUBGROUPS = frozenset({"keycap", "alphanum", "geometric", "arrow", "skin-tone", "country-flag"})
_GENDERED_NAME = re.compile(r"^(man|woman|men|women)\b")


@dataclass(frozen=True, slots=True)
class Concept:
    """One emoji.

    Attributes:
        label: CLDR's short name, ``grinning face``.
        hexcode: code points in upper-case hex, joined by ``-``.
        emoji: the characters themselves.
        group, subgroup: Unicode's order, ``animals-nature``, ``animal-bird``.
        tags: keywords of emojibase and CLDR, sorted.
    """

    label: str
    hexcode: str
    emoji: str
    group: str
    subgroup: str
    tags: tuple[str, ...]

    @property
    def name(self) -> str:
        """The label in plain form, as captions use it."""
        return plain(self.label)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The tags in plain form, sorted, without empty ones."""
        return tuple(sorted({plain(tag) for tag in self.tags} - {""}))


def plain(text: str) -> str:
    """Lower case, letters and digits only, single spaces: ``Mrs. Claus`` → ``mrs claus``."""
    without_apostrophes = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    return re.sub(r"[^a-z0-9]+", " ", without_apostrophes).strip()


def key_of(hexcode: str) -> str:
    """A hexcode as file names have it: lower case, without the variation selector."""
    return hexcode.lower().replace("-fe0f", "")


def read_concepts(data: Path) -> list[Concept]:
    """Choose the concepts from emojibase: no flags, components, letters, skin tones or gendered doubles."""
    folders = {package.key: package_folder(data, package) for package in PACKAGES}
    emojis = _read_json(folders["emojibase"] / "en" / "data.json")
    order = _read_json(folders["emojibase"] / "meta" / "groups.json")
    cldr = _read_json(folders["cldr"] / "annotations" / "en" / "annotations.json")["annotations"][
        "annotations"
    ]
    return list(_chosen(emojis, order, cldr))


def save_concepts(data: Path, concepts: list[Concept]) -> None:
    """Write the concepts where `load_concepts` finds them; their order is their number."""
    text = json.dumps([asdict(concept) for concept in concepts], ensure_ascii=False, indent=0)
    (data / CONCEPTS_FILE).write_text(text, encoding="utf-8")


def load_concepts(data: Path) -> list[Concept]:
    """Read what `save_concepts` wrote."""
    rows = _read_json(data / CONCEPTS_FILE)
    return [Concept(**{**row, "tags": tuple(row["tags"])}) for row in rows]


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _chosen(
    emojis: list[dict[str, Any]], order: Mapping[str, Mapping[str, str]], cldr: Mapping[str, Any]
) -> Iterator[Concept]:
    for emoji in emojis:
        if emoji.get("group") in (None, _COMPONENTS_GROUP, _FLAGS_GROUP):
            continue
        subgroup = order["subgroups"][str(emoji["subgroup"])]
        if subgroup in _LEFT_OUT_SUBGROUPS or _is_gendered_double(emoji):
            continue
        annotations = cldr.get(emoji["emoji"].replace("\ufe0f", ""), {})
        yield Concept(
            label=emoji["label"],
            hexcode=emoji["hexcode"],
            emoji=emoji["emoji"],
            group=order["groups"][str(emoji["group"])],
            subgroup=subgroup,
            tags=tuple(sorted({*emoji.get("tags", ()), *annotations.get("default", ())})),
        )


def _is_gendered_double(emoji: Mapping[str, Any]) -> bool:
    """``man rowing boat`` beside ``person rowing boat``: the same picture but for the hair."""
    has_gender_sign = bool({"2640", "2642"} & set(emoji["hexcode"].split("-")))
    return has_gender_sign and _GENDERED_NAME.match(emoji["label"]) is not None
