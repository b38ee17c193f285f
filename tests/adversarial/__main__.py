"""Writes docs/adversarial.md: `cd tests && python -m adversarial`."""

from adversarial.table import PAGE, page

PAGE.write_text(page(), "utf-8")
