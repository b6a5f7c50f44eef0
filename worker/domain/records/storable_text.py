"""Text that every database of ours can hold."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str, limit: int) -> str:
    """The first `limit` characters of a text, with NUL and lone surrogates replaced by U+FFFD.

    PostgreSQL refuses NUL in text; no driver can encode a lone surrogate, which JSON's escapes are able to spell.
    """
    kept = text[:limit]
    # Nearly every field is plain: these two checks cost less than one search.
    return kept if kept.isascii() and "\x00" not in kept else _UNSTORABLE.sub("\ufffd", kept)
