"""What decoders say of files, as it may go into logs and rows."""


def one_line(text: str) -> str:
    """The text on one line and without control characters: it may quote the file."""
    words = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
