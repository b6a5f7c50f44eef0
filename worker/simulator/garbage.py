"""Bodies that come with an HTTP 200 and are no answer, or hardly one."""

import functools
import gzip
from collections.abc import Callable

_BOMB_BYTES = 64 * 1024 * 1024
_DEPTH = 100_000


def _html(answer: bytes) -> bytes:
    return b"<html><head><title>502</title></head><body>Bad Gateway</body></html>"


def _doubled_keys(answer: bytes) -> bytes:
    """The answer, with a contradicting key at the end of its last object."""
    head, brace, tail = answer.rpartition(b"}")
    return head + b',"trafficSts":"1","trafficSts":"-1"' + brace + tail


def _gbk(answer: bytes) -> bytes:
    """The answer in another encoding than its header says."""
    return answer.decode().encode("gbk")


@functools.cache
def _bomb() -> bytes:
    """A few dozen kilobytes that become 64 MiB once decoded."""
    return gzip.compress(b" " * _BOMB_BYTES)


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "html": _html,
    "empty": lambda answer: b"",
    "blank": lambda answer: b" \r\n",
    "null": lambda answer: b"null",
    "text": lambda answer: '"成功"'.encode(),
    "cut": lambda answer: answer[: len(answer) // 2],
    "trailing": lambda answer: answer + b"{}",
    "gbk": _gbk,
    "bom": lambda answer: b"\xef\xbb\xbf" + answer,
    "doubled-keys": _doubled_keys,
    "nan": lambda answer: b'{"trafficSts":NaN,"oriAmount":NaN}',
    "huge-number": lambda answer: b'{"trafficSts":"1","oriAmount":1e400}',
    "deep": lambda answer: b"[" * _DEPTH + b"]" * _DEPTH,
    "wrong-types": lambda answer: b'{"requestId":[1],"trafficSts":{"a":1},"oriAmount":true}',
    "gzip-bomb": lambda answer: _bomb(),
}
"""Each kind makes its body from the answer that would have been given."""
READABLE = frozenset({"bom"})
"""Kinds that are no more than unusual: what they say may be believed."""
