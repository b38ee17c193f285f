"""What the HTML reports have in common: cards with pictures, tabs that choose among them, no scripts."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files


def style(kinds: Iterable[str]) -> str:
    """The style that the reports share; a kind's colour, ``--kind``, is for the page to set.

    Args:
        kinds: of cards; a tab hides the cards of the others.
    """
    rules = [files("streamapp").joinpath("cards.css").read_text(encoding="utf-8")]
    for kind in kinds:
        rules.append(f".tab .{kind}, .pill.{kind} {{ color: var(--{kind}); }}")
        rules.append(f"body:has(#only-{kind}:checked) .card:not(.is-{kind}) {{ display: none; }}")
    return "\n".join(rules)


def tabs(texts: Mapping[str, str], cards: Sequence[str]) -> str:
    """A tab for all cards, and one for each kind.

    Args:
        texts: kind → what its tab says.
        cards: the kind of each card.
    """
    found = [_tab("all", "everything", "", len(cards), is_checked=True)]
    found += [_tab(f"only-{kind}", text, kind, cards.count(kind)) for kind, text in texts.items()]
    return "\n".join(found)


def _tab(name: str, text: str, kind: str, count: int, *, is_checked: bool = False) -> str:
    checked = " checked" if is_checked else ""
    return (
        f'<input class="hidden" type="radio" name="only" id="{name}"{checked}>'
        f'<label class="tab" for="{name}">{text} <b class="{kind}">{count}</b></label>'
    )


def covered(number: int, well: str) -> str:
    """A flagged picture, blurred until its checkbox is ticked.

    Args:
        number: of the card on its page.
        well: the picture's place, of the class ``blurred``.
    """
    name = f"shown-{number}"
    return (
        f'<div class="cover"><input class="shown hidden" type="checkbox" id="{name}">'
        f'<label class="reveal" for="{name}"><span class="hidden">The flagged picture: </span></label>'
        f"{well}</div>"
    )
