"""Making a value, or the text of an error, safe for a log or a terminal: without secrets and control characters.

Remarks, ids and error texts come from outside. A newline in one of them could forge a record, an escape sequence could
rewrite what an operator sees, a lone surrogate makes the write itself fail.
"""

import json
import math
import os
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

MASK = "***"

_SECRET_KEYS = frozenset({"authorization", "sign", "auth_token", "authtoken", "callback_token", "password", "passwd"})

# The text before a secret is kept, so that a reader still sees which part of a URL or a header was masked.
_SECRET_PATTERNS = (
    re.compile(r"(\bsign['\"]?\s*[=:]\s*['\"]?)[0-9a-f]{32}", re.IGNORECASE),
    re.compile(r"(\bauthorization['\"]?\s*[=:]\s*['\"]?)(?:Basic |Bearer )?[A-Za-z0-9+/=_-]+", re.IGNORECASE),
    re.compile(
        r"(\b(?:auth_?token|callback_?token|password|passwd)['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}]+", re.IGNORECASE
    ),
    # The token in the path of callbacks, also one that is not configured; the route itself is shown.
    re.compile(r"(/callbacks/[^\s/'\"]{1,200}/)(?!<token>)[^\s/'\"?]+", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@'\"]*:)[^\s/'\"]+(?=@)", re.IGNORECASE),
)

# Shorter ones are ordinary words ("test", "guest") whose masking would make logs unreadable; inside a URL or beside a
# key the patterns above still mask them.
_SHORTEST_SECRET = 6
_DEEPEST = 6
_LONGEST_LINE = 500

# C0 and C1 controls, line separators, marks that reorder text on a terminal, surrogates.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Redactor:
    """Masks the given secrets, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _written_forms(secret)}
        # Longest first: of a secret that begins with another one no end may be left.
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        # In either case: hexadecimal digits and percent escapes mean the same in both.
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern in _SECRET_PATTERNS:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return text

    def value(self, value: object, *, key: str = "", depth: int = 0) -> object:
        """The value without its secrets, as JSON's types; anything else becomes its text."""
        if key.lower().replace("-", "_") in _SECRET_KEYS and value is not None:
            return MASK
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, str):
            return self.text(str(value))
        if depth < _DEEPEST and isinstance(value, Mapping):
            return {self.text(str(k)): self.value(v, key=str(k), depth=depth + 1) for k, v in value.items()}
        if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth=depth + 1) for item in value]
        return self.text(_text_of(value))


# What a reply of the platform may repeat of a query or of an order, under any key.
_MOBILE = re.compile(r"(?<![0-9])((?:86)?1[0-9]{2})[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])")
_SECRET_KEY = "token|secret|sign|passw|authorization"
_SECRET_MEMBER = re.compile(rf'("[^"]*(?:{_SECRET_KEY})[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)


def report_text(text: str, redactor: Redactor, *, key: str = "") -> str:
    """A text of the platform, under this key of an object, that may be shown to anybody, such as in a report of a
    defect: without credentials, and with the middle of phone numbers masked."""
    if re.search(_SECRET_KEY, key, re.IGNORECASE):
        return MASK
    text = _SECRET_MEMBER.sub(rf'\1"{MASK}"', redactor.text(text))
    return _MOBILE.sub(r"\1****\2", text)


def escape_controls(text: str) -> str:
    r"""The text with each control character written out: `\n`, `\x1b`, `\u202e`."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str, redactor: Redactor | None = None) -> str:
    """A text from outside as one bounded line, without secrets and control characters."""
    joined = " ".join(text.split())
    return escape_controls((redactor or Redactor()).text(joined))[:_LONGEST_LINE]


def first_line(error: BaseException, redactor: Redactor | None = None) -> str:
    """`first_words`, safe to show."""
    return one_line(first_words(error), redactor)


def first_words(error: BaseException) -> str:
    """The first line of an error's text, as it is. Of a database error the driver's words, without statement and
    parameters."""
    # Drivers give a number and a text (PyMySQL), or several lines (psycopg), the first of which says it.
    cause = getattr(error, "orig", None) or error
    last = cause.args[-1] if cause.args else None
    words = last if isinstance(last, str) and last.strip() else str(cause)
    lines = words.strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def describe(error: BaseException) -> str:
    """An error and its causes in words that hold nothing of a request: class names, and the messages of the operating
    system and of OpenSSL. The messages of libraries may quote the URL, which holds the signature."""
    return " < ".join(dict.fromkeys(_words(cause) for cause in _causes(error)))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < 8:
        seen.add(id(error))
        yield error
        held = [argument for argument in error.args if isinstance(argument, BaseException)]
        error = error.__cause__ or error.__context__ or (held[0] if held else None)


def _words(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{name} ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        # Only errors that OpenSSL raised itself have a reason.
        reason = getattr(error, "reason", None)
        return f"{name} ({reason})" if reason else name
    # Looked up by number: the text that an exception carries may be anything. Errors of name resolution have numbers of
    # their own, below zero on Linux.
    if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
        return f"{name} ({os.strerror(error.errno)})"
    return "the host's name cannot be resolved" if isinstance(error, socket.gaierror) else name


def _written_forms(secret: str) -> set[str]:
    # Many JSON writers escape the slash.
    written = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return written | {form.replace("/", "\\/") for form in written}


def _text_of(value: object) -> str:
    try:
        return repr(value) if isinstance(value, BaseException | bytes) else str(value)
    except Exception as error:  # a value that cannot be shown must not cost the record
        return f"<{type(value).__name__} whose text failed: {type(error).__name__}>"
