"""The terms of a case: workers, load, pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.pictures import PLAIN


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions a case is played.

    Attributes:
        workers: at the start.
        rate_per_s: events sent in a second.
        shares: colour → its share of the pictures.
        late_share, late_s: of the pictures, and how late they come: so the events are done out of order.
        has_pages: whether the workers serve their pages.
        variables: of the workers, beside those that all cases share.
    """

    workers: int = 3
    rate_per_s: float = 120.0
    shares: Mapping[str, float] = field(default_factory=lambda: {PLAIN: 1.0})
    late_share: float = 0.05
    late_s: float = 1.0
    has_pages: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
