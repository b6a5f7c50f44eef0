"""Values and error texts, made safe for a log or a terminal: without secrets and control characters.

Remarks, ids and error texts come from outside. A newline in such a text could forge a log record, an escape sequence
could change what an operator sees on a terminal, and a lone surrogate would make the writing of the text fail.
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

# Each pattern's group is the text before a secret. This text is kept, so that a reader still sees which part of a URL
# or a header was masked.
_SECRET_PATTERNS = (
    re.compile(r"(\bsign['\"]?\s*[=:]\s*['\"]?)[0-9a-f]{32}", re.IGNORECASE),
    re.compile(r"(\bauthorization['\"]?\s*[=:]\s*['\"]?)(?:Basic |Bearer )?[A-Za-z0-9+/=_-]+", re.IGNORECASE),
    re.compile(
        r"(\b(?:auth_?token|callback_?token|password|passwd)['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}]+", re.IGNORECASE
    ),
    # The token in the path of a callback's URL, even if no such token is configured. The placeholder `<token>`, as in
    # the route's name, stays visible.
    re.compile(r"(/callbacks/[^\s/'\"]{1,200}/)(?!<token>)[^\s/'\"?]+", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@'\"]*:)[^\s/'\"]+(?=@)", re.IGNORECASE),
)

# Secrets that are shorter than this are not masked everywhere: they may be ordinary words ("test", "guest"), and logs
# would become unreadable. Inside a URL or beside a key, the patterns above still mask a short secret.
_SHORTEST_SECRET = 6
_DEEPEST = 6
_LONGEST_LINE = 500

# The characters to escape: C0 and C1 controls, line separators, invisible marks that can reorder text on a terminal,
# and surrogates.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Redactor:
    """Masks the given secrets, and texts that look like secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _written_forms(secret)}
        # Longest first: if one secret begins with another one, the whole longer secret must be masked, not only its
        # beginning.
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        # Case is ignored, because hexadecimal digits and percent escapes mean the same in upper and lower case.
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def text(self, text: str) -> str:
        """The text without its secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern in _SECRET_PATTERNS:
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return text

    def value(self, value: object, *, key: str = "", depth: int = 0) -> object:
        """The value without its secrets. The result has only types that JSON has: a value of another type is replaced
        by its text."""
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


# Patterns for private data of a query or an order. A reply of the platform may repeat this data under any key.
_MOBILE = re.compile(r"(?<![0-9])((?:86)?1[0-9]{2})[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9])")
_SECRET_KEY = "token|secret|sign|passw|authorization"
_SECRET_MEMBER = re.compile(rf'("[^"]*(?:{_SECRET_KEY})[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)


def report_text(text: str, redactor: Redactor, *, key: str = "") -> str:
    """Make a text of the platform safe to show to anybody, for example in a bug report. Credentials and the middle of
    phone numbers are masked. `key` is the key of the text in its JSON object."""
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
    """The first line of an error's text (`first_words`), made safe to show."""
    return one_line(first_words(error), redactor)


def first_words(error: BaseException) -> str:
    """The first line of an error's text, unchanged. For a database error this is the first line of the driver's text,
    which does not contain the statement and its parameters."""
    # The arguments of a PyMySQL error are a number and a text. The text of a psycopg error has several lines, of which
    # the first is the message.
    cause = getattr(error, "orig", None) or error
    last = cause.args[-1] if cause.args else None
    words = last if isinstance(last, str) and last.strip() else str(cause)
    lines = words.strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def describe(error: BaseException) -> str:
    """Describe an error and its causes without any part of a request. The description has only class names, and
    messages of the operating system and of OpenSSL. The libraries' own messages are left out, because they may quote
    the URL, which contains the signature."""
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
        # Only an error that comes from OpenSSL itself has a reason.
        reason = getattr(error, "reason", None)
        return f"{name} ({reason})" if reason else name
    # The operating system's text is looked up by the error's number, because the text in the exception may be anything.
    # Errors of name resolution have their own numbers, for which this look-up would be wrong; on Linux these are below
    # zero.
    if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
        return f"{name} ({os.strerror(error.errno)})"
    return "the host's name cannot be resolved" if isinstance(error, socket.gaierror) else name


def _written_forms(secret: str) -> set[str]:
    # A slash may also be written as `\/`, because many JSON writers escape it.
    written = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return written | {form.replace("/", "\\/") for form in written}


def _text_of(value: object) -> str:
    try:
        return repr(value) if isinstance(value, BaseException | bytes) else str(value)
    except Exception as error:  # the record must be kept although a value cannot be shown
        return f"<{type(value).__name__} whose text failed: {type(error).__name__}>"
