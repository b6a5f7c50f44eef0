"""What is kept of a receiver's answer: its first characters, without secrets and phone numbers."""

import re
from collections.abc import Iterable

from worker.adapters.log_redaction import MASK, Redactor
from worker.domain.records.incoming import storable

ANSWER_LIMIT = 500
"""Characters."""

# A receiver may echo what it was sent: the order's phone, and the signature.
_ECHOED = re.compile(r"(?<!\d)1\d{10}(?!\d)|v1,[A-Za-z0-9+/]{43}=")


class AnswerText:
    """Makes texts that may be stored and shown. `hidden`: what none of them may hold."""

    def __init__(self, hidden: Iterable[str]) -> None:
        self._redactor = Redactor(hidden)

    def of(self, text: str) -> str:
        """The text, masked first and then cut, so that no beginning of a secret is left at its end."""
        return storable(_ECHOED.sub(MASK, self._redactor.text(text)), ANSWER_LIMIT)

    def of_bytes(self, body: bytes) -> str:
        """The same for bytes; what is not UTF-8 becomes U+FFFD."""
        return self.of(body.decode("utf-8", "replace"))
