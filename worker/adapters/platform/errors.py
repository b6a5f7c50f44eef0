"""What the libraries' errors mean. Every exception class of requests and urllib3 stands here by name.

Their messages are never used: many of them quote the URL, which holds the signature. Ours are made from class
names and from the messages of the operating system and of OpenSSL.
"""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from requests import exceptions as of_requests
from urllib3 import exceptions as of_urllib3

from worker.domain.records.incoming import DeadlineExceeded, Malformed, QueryError, Unreachable

# The platform, or the network to it, is slower than the deadline allows.
_TOO_SLOW = (
    of_requests.ReadTimeout,
    of_requests.Timeout,
    of_urllib3.ReadTimeoutError,
    of_urllib3.TimeoutError,
    TimeoutError,
)
# The connection broke, or what came over it is not HTTP that can be read. The classes for a connection that
# could not be made, or for a request, are here too: before the first byte no class decides (see `meaning_of`), and
# after it "nothing was sent" would be untrue. requests' InvalidHeader, for example, also means a bad header of the
# answer.
_BROKEN = (
    *(of_requests.ChunkedEncodingError, of_requests.ConnectionError, of_requests.ConnectTimeout),
    *(of_requests.ContentDecodingError, of_requests.HTTPError, of_requests.InvalidHeader),
    *(of_requests.InvalidJSONError, of_requests.InvalidProxyURL, of_requests.InvalidSchema, of_requests.InvalidURL),
    *(of_requests.JSONDecodeError, of_requests.MissingSchema, of_requests.ProxyError, of_requests.RequestException),
    *(of_requests.RetryError, of_requests.SSLError, of_requests.StreamConsumedError, of_requests.TooManyRedirects),
    *(of_requests.UnrewindableBodyError, of_requests.URLRequired),
    *(of_urllib3.BodyNotHttplibCompatible, of_urllib3.ClosedPoolError, of_urllib3.ConnectTimeoutError),
    *(of_urllib3.DecodeError, of_urllib3.EmptyPoolError, of_urllib3.FullPoolError, of_urllib3.HeaderParsingError),
    *(of_urllib3.HostChangedError, of_urllib3.HTTPError, of_urllib3.IncompleteRead, of_urllib3.InvalidChunkLength),
    *(of_urllib3.InvalidHeader, of_urllib3.LocationParseError, of_urllib3.LocationValueError),
    *(of_urllib3.MaxRetryError, of_urllib3.NameResolutionError, of_urllib3.NewConnectionError, of_urllib3.PoolError),
    *(of_urllib3.ProtocolError, of_urllib3.ProxyError, of_urllib3.ProxySchemeUnknown),
    *(of_urllib3.ProxySchemeUnsupported, of_urllib3.RequestError, of_urllib3.ResponseError),
    *(of_urllib3.ResponseNotChunked, of_urllib3.SSLError, of_urllib3.TimeoutStateError),
    *(of_urllib3.UnrewindableBodyError, of_urllib3.URLSchemeUnknown),
    # The layers beneath the two libraries, where an error comes through unwrapped.
    http.client.HTTPException,
    OSError,
    ValueError,
)

MEANING: Mapping[type[Exception], type[QueryError]] = MappingProxyType(
    dict.fromkeys(_TOO_SLOW, DeadlineExceeded) | dict.fromkeys(_BROKEN, Malformed)
)
"""What each exception class means, once the first byte of the request was sent."""
MAPPED = tuple(MEANING)
"""The classes, for an `except` clause. Any other exception is a mistake of ours and is not caught."""

_SAYINGS: Mapping[type[QueryError], str] = MappingProxyType(
    {
        Unreachable: "no connection",
        DeadlineExceeded: "no answer in time",
        Malformed: "the connection broke, or the answer is not HTTP",
    }
)


def meaning_of(error: Exception, *, sent: bool) -> QueryError:
    """The error of ours that a library's error means. `sent`: whether the first byte of the request was sent."""
    kind: type[QueryError] = Unreachable
    if sent:
        kind = next(MEANING[known] for known in type(error).__mro__ if known in MEANING)
    return kind(f"{_SAYINGS[kind]}: {describe(error)}")


def describe(error: BaseException) -> str:
    """An error and its causes in words that hold nothing of the request: class names, and the system's own messages."""
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
