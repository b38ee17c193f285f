"""Writes the README's generated blocks: `make docs`. A test compares them with the code."""

from pathlib import Path

from streamapp import metrics
from streamapp.exits import Exit
from streamapp.reasons import Reason, Status
from streamapp.settings import table as settings

README = Path(__file__).parents[1] / "README.md"
MEANINGS = {
    Status.PREDICTED: "predicted",
    Status.NOT_MEDIA: "no picture that can be decoded",
    Status.NOT_AVAILABLE: "the file can't be had",
    Status.MODEL_RAISED: "the model did not answer",
    Status.NO_KEY_FRAME: "no key frame could be taken",
    Status.SWITCHED_OFF: "the model is switched off in this deployment",
}


def reasons_table() -> str:
    """STATUS → meaning and the reasons that go with it."""
    lines = ["| STATUS | when | `PROVENANCE.reason` |", "|---|---|---|"]
    for status, meaning in MEANINGS.items():
        reasons = ", ".join(f"`{reason}`" for reason in Reason if reason.status is status)
        lines.append(f"| {status.value} | {meaning} | {reasons} |")
    return "\n".join(lines)


def exits_table() -> str:
    """The worker's exit codes."""
    rows = (f"| {code.value} | {code.meaning} |" for code in Exit)
    return "\n".join(["| Code | when |", "|---|---|", *rows])


BLOCKS = {
    "settings": settings.markdown_table,
    "reasons": reasons_table,
    "exits": exits_table,
    "metrics": metrics.markdown_table,
}


def with_blocks(text: str) -> str:
    """The README's text with every generated block as the code has it now."""
    for name, make in BLOCKS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise SystemExit(f"The README must have exactly one block {name}.")
        before, rest = text.split(start)
        text = before + start + make().strip() + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    README.write_text(with_blocks(README.read_text("utf-8")), "utf-8")
