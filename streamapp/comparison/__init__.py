"""Compares the rows of two deployments, or of two versions: what they agree on, and where they don't."""

from streamapp.comparison.agreement import Comparison, Confusion, Disagreement, FieldAgreement, compare
from streamapp.comparison.fields import FIELDS, Facts, Field, Kind
from streamapp.comparison.matching import Matching, Side, match_files
from streamapp.comparison.report import write_report

__all__ = [
    "FIELDS",
    "Comparison",
    "Confusion",
    "Disagreement",
    "Facts",
    "Field",
    "FieldAgreement",
    "Kind",
    "Matching",
    "Side",
    "compare",
    "match_files",
    "write_report",
]
