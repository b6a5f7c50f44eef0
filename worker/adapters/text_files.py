"""Reading a file that a person wrote, of a bounded length. What is wrong is a ValueError that completes "PATH "."""

import re
import tomllib
from pathlib import Path
from typing import Any


def read_text(path: Path, most_bytes: int) -> str:
    """A file's text. Raises ValueError, which shows neither path nor content."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})") from None
    if len(content) > most_bytes:
        raise ValueError(f"has more than {most_bytes >> 10} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file of at most 1 MiB. Raises ValueError, as above."""
    text = read_text(path, 1 << 20)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Only the position: the parser's message may quote the line, and with it a token.
        position = re.search(r"\(at [^()]*\)", str(error))
        raise ValueError(f"is not valid TOML {position[0] if position else ''}".rstrip()) from None
