"""What a concept is a kind of: words for its subgroup, and the 15 classes of the zero-shot test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.tiny_clip.concepts import Concept, plain

_WEAPONS = frozenset(
    {
        "dagger",
        "crossed swords",
        "bomb",
        "bow and arrow",
        "water pistol",
        "kitchen knife",
        "axe",
        "firecracker",
    }
)
_CARS = frozenset(
    {
        *(
            "automobile",
            "oncoming automobile",
            "sport utility vehicle",
            "taxi",
            "oncoming taxi",
            "police car",
        ),
        *(
            "oncoming police car",
            "racing car",
            "pickup truck",
            "delivery truck",
            "articulated lorry",
            "ambulance",
        ),
        *(
            "fire engine",
            "bus",
            "oncoming bus",
            "minibus",
            "motorcycle",
            "motor scooter",
            "tractor",
            "auto rickshaw",
        ),
    }
)
_GADGETS = frozenset(
    {
        *("camera", "camera with flash", "video camera", "television", "film projector", "movie camera"),
        *("videocassette", "radio", "video game", "joystick", "headphone", "satellite antenna", "flashlight"),
    }
)
_BIRTHDAY = frozenset({"birthday cake", "clinking glasses", "bottle with popping cork", "partying face"})

_WORDS_BY_SUBGROUP: dict[str, tuple[str, ...]] = {
    "animal": ("animal", "creature", "wildlife", "wild animal", "pet"),
    "arts-crafts": ("art", "craft"),
    "av-symbol": ("media button", "symbol"),
    "award-medal": ("award", "medal", "prize"),
    "body-parts": ("body part", "anatomy"),
    "book-paper": ("book", "paper", "reading"),
    "cat-face": ("animal", "face", "cat face"),
    "clothing": ("clothing", "clothes", "fashion", "apparel", "accessory"),
    "computer": ("gadget", "gadgets", "technology", "electronics", "computer device"),
    "dishware": ("cutlery", "kitchen tableware"),
    "drink": ("drink", "beverage", "beverages", "something to drink"),
    "event": ("celebration", "party", "festival", "birthday party", "holiday event"),
    "face": ("face", "facial expression", "smiley", "emotion", "feeling", "selfie"),
    "family": ("family", "couple", "relatives", "people"),
    "food": ("food", "dish", "meal", "cuisine", "something to eat"),
    "food-fruit": ("fruit", "fruits"),
    "food-sweet": ("dessert", "sweets"),
    "food-vegetable": ("vegetable", "vegetables"),
    "game": ("game", "toy"),
    "hand": ("hand", "hand gesture", "fingers"),
    "hands": ("hands", "hand gesture"),
    "heart": ("heart", "love"),
    "household": ("household item", "home"),
    "lock": ("lock", "security"),
    "mail": ("mail", "post"),
    "math": ("math symbol", "symbol"),
    "medical": ("medicine", "medical", "health"),
    "money": ("money", "finance"),
    "monkey-face": ("animal", "monkey"),
    "music": ("music", "audio"),
    "musical-instrument": ("musical instrument", "instrument", "music instrument", "music"),
    "office": ("office supplies", "stationery"),
    "other-symbol": ("symbol",),
    "person": ("person", "people", "human"),
    "person-activity": ("person", "people", "activity"),
    "person-fantasy": ("fantasy character", "myth"),
    "person-gesture": ("person", "people", "gesture"),
    "person-role": ("person", "people", "job", "profession"),
    "person-sport": ("sport", "sports", "athlete", "person doing sport"),
    "phone": ("gadget", "gadgets", "technology", "electronics", "phone"),
    "place-building": ("building", "architecture", "landmark", "monument", "place", "travel"),
    "place-geographic": ("landscape", "scenery", "place", "travel"),
    "place-map": ("map", "travel"),
    "place-other": ("place", "scenery", "travel"),
    "place-religious": ("religious building", "place of worship", "religion"),
    "plant": ("plant", "nature", "botany", "garden"),
    "plant-flower": ("flower", "flowers"),
    "religion": ("religious symbol", "religion", "faith"),
    "science": ("science", "laboratory"),
    "sky-weather": ("weather", "sky"),
    "sound": ("sound", "audio"),
    "sport": ("sport", "sports", "sports equipment", "game"),
    "time": ("clock", "time"),
    "tool": ("tool",),
    "transport-air": ("aircraft", "aviation", "transport"),
    "transport-ground": ("vehicle", "transport", "transportation"),
    "transport-sign": ("sign", "signage"),
    "transport-water": ("boat", "ship", "transport"),
    "warning": ("sign", "warning sign"),
    "writing": ("stationery", "writing tool"),
    "zodiac": ("zodiac sign", "astrology"),
}
_WORDS_BY_LABEL: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (_WEAPONS, ("weapon", "weapons", "dangerous weapon")),
    (_CARS, ("car", "automobile", "automobiles", "motor vehicle", "road vehicle")),
    (_GADGETS, ("gadget", "gadgets", "technology", "electronics")),
    (_BIRTHDAY, ("birthday", "celebration", "party")),
)


def kinds_of(concept: Concept) -> tuple[str, ...]:
    """The words for what this concept is a kind of, sorted: ``animal``, ``pet``, … for a dog."""
    words = {plain(concept.subgroup), plain(concept.group)}
    words.update(_WORDS_BY_SUBGROUP.get(concept.subgroup, ()))
    words.update(_WORDS_BY_SUBGROUP.get(concept.subgroup.split("-")[0], ()))
    for labels, extra in _WORDS_BY_LABEL:
        if concept.label in labels:
            words.update(extra)
    return tuple(sorted(words))


@dataclass(frozen=True, slots=True)
class ZeroShotClass:
    """One of the coarse classes of the test; a concept belongs to the first that has it.

    Attributes:
        word: as it stands in the prompts of the test.
        subgroups: whose concepts belong to it; a trailing ``*`` takes every subgroup so beginning.
        labels: concepts that belong to it besides.
    """

    word: str
    subgroups: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()

    def has(self, concept: Concept) -> bool:
        """Whether the concept would fit this class."""
        return concept.label in self.labels or any(
            concept.subgroup.startswith(name[:-1]) if name.endswith("*") else concept.subgroup == name
            for name in self.subgroups
        )


ZERO_SHOT_CLASSES: tuple[ZeroShotClass, ...] = (
    ZeroShotClass("animal", ("animal*", "cat-face", "monkey-face")),
    ZeroShotClass("food", ("food*",)),
    ZeroShotClass("beverage", ("drink",)),
    ZeroShotClass("automobile", labels=_CARS),
    ZeroShotClass("sport", ("sport", "person-sport")),
    ZeroShotClass("musical instrument", ("musical-instrument",)),
    ZeroShotClass("weapon", labels=_WEAPONS),
    ZeroShotClass("face", ("face*",)),
    ZeroShotClass("family", ("family",)),
    ZeroShotClass("clothing", ("clothing",)),
    ZeroShotClass("gadget", ("computer", "phone"), _GADGETS),
    ZeroShotClass("building", ("place-building", "place-geographic", "place-other")),
    ZeroShotClass("celebration", ("event",)),
    ZeroShotClass("plant", ("plant*",)),
    ZeroShotClass("religious symbol", ("religion", "place-religious")),
)


def class_numbers(concepts: Sequence[Concept]) -> npt.NDArray[np.int64]:
    """The number of each concept's class in `ZERO_SHOT_CLASSES`, or -1 for a concept in none of them."""
    numbers = [
        next((number for number, kind in enumerate(ZERO_SHOT_CLASSES) if kind.has(concept)), -1)
        for concept in concepts
    ]
    return np.array(numbers, dtype=np.int64)
