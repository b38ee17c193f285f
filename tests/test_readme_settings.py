"""The README's settings table is the one that the code makes."""

import re
from pathlib import Path

from streamapp.settings.table import markdown_table

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_shows_every_setting_as_it_is() -> None:
    block = re.search(r"<!-- settings -->\n(.*?)<!-- /?settings -->", README.read_text("utf-8"), re.DOTALL)
    assert block is not None, "The README has no <!-- settings --> … <!-- /settings --> block."
    assert block[1].strip() == markdown_table().strip(), (
        "Paste `streamapp settings --markdown` into the README."
    )
