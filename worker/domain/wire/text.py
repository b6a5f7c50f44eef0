"""Text that every database of ours can hold."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str, limit: int) -> str:
    """The first `limit` characters of a text, with NUL and lone surrogates replaced by U+FFFD.

    PostgreSQL refuses NUL in text; no driver can encode a lone surrogate, which JSON's escapes are able to spell.
    """
    return _UNSTORABLE.sub("\ufffd", text[:limit])
