"""Captions: a template round a name, a keyword or a kind, and of which concepts it is true."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from training.tiny_clip.concepts import Concept
from training.tiny_clip.hierarchy import kinds_of


class Tokenizer(Protocol):
    """The part of open_clip's tokenizer that captions need."""

    sot_token_id: int
    eot_token_id: int

    def encode(self, text: str) -> list[int]:
        """Token ids without start and end."""
        ...


_BARE_SHARE = 6
TEMPLATES: tuple[str, ...] = (
    *(["{}"] * _BARE_SHARE),
    *("a {}", "an {}", "the {}", "some {}", "one {}", "a type of {}", "a kind of {}"),
    *("a picture of {}", "a picture of a {}", "a picture of the {}", "{} picture", "a small picture of {}"),
    *(
        "a photo of {}",
        "a photo of a {}",
        "a photo of the {}",
        "a bad photo of a {}",
        "a close up photo of a {}",
    ),
    *("an image of {}", "an image of a {}", "this image shows a {}", "a photo that shows {}", "this is a {}"),
    *("an emoji of {}", "an emoji of a {}", "{} emoji", "{} icon", "a drawing of a {}", "a cartoon {}"),
    *("a colourful cartoon of a {} on a plain background", "here we can see a nice little drawing of {}"),
    *("a photo of something related to {}", "a picture in the category {}"),
)

_NAME_SHARE, _KEYWORD_SHARE = 0.5, 0.25
_TWO_PHRASES_SHARE = 0.08
_PLURAL_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption.

    Attributes:
        phrase: number of the phrase that it is about.
        tokens: ids with start and end, at most ``context_length``.
    """

    phrase: int
    tokens: list[int]


class Captioner:
    """Draws captions for concepts, and knows of which concepts each phrase is true.

    Attributes:
        true_of: (P, C) bool; phrase p is true of concept c. Many phrases are true of many concepts, and
            the loss must not push those apart.
    """

    def __init__(self, concepts: Sequence[Concept], tokenizer: Tokenizer, context_length: int) -> None:
        self._names = [concept.name for concept in concepts]
        self._keywords = [concept.keywords for concept in concepts]
        self._kinds = [kinds_of(concept) for concept in concepts]
        self._phrases = sorted(
            {phrase for number in range(len(concepts)) for phrase in self._phrases_of(number)}
        )
        self._number = {phrase: number for number, phrase in enumerate(self._phrases)}
        self.true_of = torch.zeros(len(self._phrases), len(concepts), dtype=torch.bool)
        for number in range(len(concepts)):
            self.true_of[[self._number[phrase] for phrase in self._phrases_of(number)], number] = True
        self._tokenizer = tokenizer
        self._max_tokens = context_length - 2
        self._tokens = [tokenizer.encode(phrase) for phrase in self._phrases]
        self._templates = [tuple(tokenizer.encode(part) for part in text.split("{}")) for text in TEMPLATES]
        self._comma = tokenizer.encode(",")

    def _phrases_of(self, concept: int) -> tuple[str, ...]:
        return (self._names[concept], *self._keywords[concept], *self._kinds[concept])

    def draw(self, concept: int, rng: random.Random) -> Caption:
        """Draw a caption that is true of the concept: half by name, a quarter each by keyword and by kind."""
        chance = rng.random()
        if chance < _NAME_SHARE:
            phrase = self._names[concept]
        elif chance < _NAME_SHARE + _KEYWORD_SHARE and self._keywords[concept]:
            phrase = rng.choice(self._keywords[concept])
        else:
            phrase = rng.choice(self._kinds[concept])
        number = self._number[phrase]
        before, after = rng.choice(self._templates)
        tokens = (before + self._worded(concept, number, rng) + after)[: self._max_tokens]
        return Caption(number, [self._tokenizer.sot_token_id, *tokens, self._tokenizer.eot_token_id])

    def _worded(self, concept: int, phrase: int, rng: random.Random) -> list[int]:
        """The phrase's tokens; now and then in the plural, or with a keyword of the concept behind it."""
        chance = rng.random()
        if chance < _TWO_PHRASES_SHARE and self._keywords[concept]:
            keyword = self._number[rng.choice(self._keywords[concept])]
            return self._tokens[phrase] + self._comma + self._tokens[keyword]
        if chance > 1 - _PLURAL_SHARE and not self._phrases[phrase].endswith("s"):
            return self._tokenizer.encode(self._phrases[phrase] + "s")
        return self._tokens[phrase]
