"""The client of the platform's order query. One call makes one query over one connection, and ends with one answer or
one error.

The request accepts only the encoding `identity`, but a platform or a proxy may compress the answer all the same. This
module decompresses the answer by the standard library's zlib, not by the HTTP library's decoder: zlib can limit the
length of the result in one call, and shows whether the compressed data was cut short.

An answer may echo the request, so the query's credentials are masked in all stored parts of an answer.
"""

import logging
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from urllib3.exceptions import TimeoutError as TimeoutOfUrllib3

from worker.adapters.clock import Clock
from worker.adapters.http_deadline_and_size import BROKEN
from worker.adapters.platform.exchange import Exchange, Received, connect, exchange_once
from worker.adapters.safe_text import MASK, Redactor, describe
from worker.domain.records.coded_texts import CodedText, TextCode
from worker.domain.records.incoming import (
    Answer,
    DeadlineExceeded,
    HttpError,
    Malformed,
    QueryError,
    Report,
    Unreachable,
)
from worker.domain.records.orders import IdKind
from worker.domain.wire.query_request import Credentials, WireRequest, build_request, timestamp_at
from worker.domain.wire.replies import BODY_LIMIT, excerpt_of, read_answer

# If the end of an excerpt cuts a secret short, the part that is left is masked only if it is longer than this many
# characters. A shorter part helps nobody, and a text often ends with the same few characters by coincidence.
_HARMLESS = 7
_FREE_FIELDS = ("remark", "fault", "words")
_NAMED_FIELDS = ("request_id", "custom_parm", "app_id", "mobile", "traffic_sts", "ori_amount")


class Mask:
    """Masks the token, the signature and the Authorization value of one request in all texts of its answer that are
    kept."""

    def __init__(self, credentials: Credentials, request: WireRequest) -> None:
        signature = request.url.rpartition("Sign=")[2]
        secrets = {credentials.auth_token, signature, request.headers["Authorization"]}
        self._redactor = Redactor(secrets)
        self._secrets = tuple(secret.casefold() for secret in secrets)
        # The longest beginning is tried first, so that all that is left of a secret is masked.
        self._beginnings = tuple(
            sorted(
                {secret[:length] for secret in self._secrets for length in range(_HARMLESS + 1, len(secret))},
                key=len,
                reverse=True,
            )
        )

    def text(self, text: str) -> str:
        """The text without the credentials, never longer than it was."""
        masked = self._redactor.text(text)
        end = masked[-max(map(len, self._secrets)) :].casefold()
        if end.endswith(self._beginnings):
            cut_short = next(beginning for beginning in self._beginnings if end.endswith(beginning))
            masked = masked[: -len(cut_short)] + MASK
        return masked[: len(text)]

    def answer(self, answer: Answer) -> Answer:
        """The answer without the credentials. Ids, results and amounts stay as the platform sent them, unless they
        contain a credential: then they are masked as a whole, and their item gets a fault, so that it is not
        believed."""
        reports = [report for said in answer.said.values() for report in said]
        if self._shows_nothing([*reports, *answer.added]):
            return replace(answer, excerpt=self.text(answer.excerpt))
        return replace(
            answer,
            said={identity: tuple(map(self._report, reports)) for identity, reports in answer.said.items()},
            added=tuple(map(self._report, answer.added)),
            excerpt=self.text(answer.excerpt),
        )

    def error(self, error: QueryError) -> QueryError:
        """The same error without the credentials in its texts. Its traceback and its context are removed as well,
        because they lead to the request."""
        error.args = (self.text(str(error)),)
        error.excerpt = self.text(error.excerpt)
        error.status_code = self._optional(error.status_code)
        error.status_msg = self._optional(error.status_msg)
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    def _shows_nothing(self, reports: Sequence[Report]) -> bool:
        """Whether none of the reports contains anything to mask. All reports are tested at once, because reports with
        something to mask are rare."""
        texts = [getattr(report, name) for report in reports for name in (*_NAMED_FIELDS, *_FREE_FIELDS)]
        together = "\n".join(text for text in texts if text is not None)
        folded = together.casefold()
        # A search for a secret's first characters finds a whole secret, and also a secret that the end of a text cuts
        # short.
        is_free_of_secrets = not any(secret[: _HARMLESS + 1] in folded for secret in self._secrets)
        return is_free_of_secrets and self._redactor.text(together) == together

    def _report(self, report: Report) -> Report:
        spoilt: dict[str, Any] = {name: MASK for name in _NAMED_FIELDS if self._holds_credential(getattr(report, name))}
        masked = replace(
            report,
            remark=self._optional(report.remark),
            fault=self._optional(report.fault),
            words=self.text(report.words),
        )
        why = masked.fault or CodedText(TextCode.ITEM_REPEATS_CREDENTIAL)
        return replace(masked, fault=why, **spoilt) if spoilt else masked

    def _holds_credential(self, text: str | None) -> bool:
        return text is not None and any(secret in text.casefold() for secret in self._secrets)

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)


LONGEST_WAIT = 10_000_000.0
"""The longest wait that a `Retry-After` header may ask for, in seconds; a longer one is shortened to this. The
account's back-off has its own limit."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_GZIP = 16 + zlib.MAX_WBITS


def decoded(body: bytes, content_encoding: str | None) -> bytes:
    """Decode a body that is encoded by identity, gzip or deflate. Raises Malformed for another encoding, for a damaged
    body, and for a body that is longer than 4 MiB when decompressed."""
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if not codings:
        return body
    if codings in (["gzip"], ["x-gzip"]):
        return _inflated(body, _GZIP)
    if codings == ["deflate"]:
        try:
            return _inflated(body, zlib.MAX_WBITS)
        except Malformed:
            # Some servers send deflate's data without the header and checksum of zlib.
            return _inflated(body, -zlib.MAX_WBITS)
    raise Malformed("the answer's Content-Encoding is neither gzip nor deflate")


def _inflated(body: bytes, window_bits: int) -> bytes:
    stream = zlib.decompressobj(window_bits)
    try:
        plain = stream.decompress(body, BODY_LIMIT + 1)
    except zlib.error:
        raise Malformed("the answer's compressed body is damaged") from None
    if len(plain) > BODY_LIMIT:
        raise Malformed(f"the answer's body is longer than {BODY_LIMIT} bytes when decompressed")
    if not stream.eof or stream.unused_data:
        raise Malformed("the answer's compressed body ends too early, or goes on past its end")
    return plain


def wait_requested(header: str | None, now: datetime) -> float | None:
    """The wait that a `Retry-After` header asks for, in seconds, zero or more; None if there is no readable header.

    The header contains seconds or a date (RFC 9110, section 10.2.3). `now` is an aware wall clock time.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    # A date without a zone is read as UTC, because all dates in HTTP are in UTC.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST_WAIT)


Exchanged = tuple[WireRequest, Received]
"""The request and the answer of one exchange, for code that explains the exchange to a person. Mask both before you
show them."""


@dataclass(kw_only=True, eq=False)
class PlatformClient:
    """Queries the platform. It keeps no connection and no credentials, so one client is enough for all threads and
    accounts.

    `base_url` is a URL that the settings accept.
    `connect_timeout` and `deadline` are in seconds; the deadline is for the whole exchange.
    `ca_file` has the certificate authorities for a platform with https; None means the public authorities.
    `observe` is called after each exchange.
    Nothing is read from the environment: no proxy, and no .netrc.
    """

    base_url: str
    version: str
    bracketed_ids: bool
    timezone: tzinfo
    connect_timeout: float
    deadline: float
    clock: Clock
    ca_file: str | None = None
    observe: Callable[[Exchanged], None] | None = None

    def __post_init__(self) -> None:
        _quieten_urllib3()

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        """Poll 1 to 100 ids of one kind. `started` is the boot clock's reading from which the deadline counts.

        Never sends the query twice. Raises one of the errors in `worker.domain.records.incoming`, and ValueError for
        ids that cannot be polled. No text of an answer or an error contains the credentials, even if the platform
        echoes them.
        """
        request = build_request(
            base_url=self.base_url,
            version=self.version,
            credentials=credentials,
            timestamp=timestamp_at(self.clock.now(), self.timezone),
            id_kind=id_kind,
            ids=ids,
            bracketed=self.bracketed_ids,
        )
        mask = Mask(credentials, request)
        # The error is returned here and raised outside any `except` block. Otherwise Python would attach the library's
        # error, which contains the signed URL, to our error as its context.
        outcome = self._outcome(request, id_kind, ids, started)
        if isinstance(outcome, QueryError):
            raise mask.error(outcome)
        return mask.answer(outcome)

    def connect(self) -> QueryError | None:
        """Make the connection that a query would make, and close it without sending anything. Returns the reason if no
        connection could be made; None if one was made."""
        url = urlsplit(self.base_url)
        return self._exchange(lambda one: connect(url, one, self.ca_file).close(), self.clock.boot())

    def _outcome(
        self, request: WireRequest, id_kind: IdKind, ids: Sequence[str], started: float
    ) -> Answer | QueryError:
        received = Received()
        failure = self._exchange(
            lambda one: exchange_once(request, one, received, ca_file=self.ca_file),
            started,
            (request, received),
        )
        try:
            if received.status is not None and received.status != 200 and not isinstance(failure, DeadlineExceeded):
                retry_after = wait_requested(received.retry_after, self.clock.now())
                return HttpError(received.status, retry_after=retry_after, excerpt=_excerpt(received))
            if failure is not None:
                return _with_excerpt(failure, received)
            body = decoded(bytes(received.body), received.content_encoding)
            return read_answer(body, received.content_type, id_kind, ids)
        except QueryError as error:
            return _with_excerpt(error, received)

    def _exchange(
        self, act: Callable[[Exchange], None], started: float, seen: tuple[WireRequest, Received] | None = None
    ) -> QueryError | None:
        """Run `act` within the time of one exchange. Returns the error if `act` failed or ended too late; None if `act`
        succeeded before the deadline."""
        exchange = Exchange(
            clock=self.clock, started=started, deadline=self.deadline, connect_timeout=self.connect_timeout
        )
        failure: QueryError | None = None
        try:
            with exchange:
                exchange.check_may_begin()
                act(exchange)
        except QueryError as error:
            failure = error
        except BROKEN as error:
            failure = meaning_of(error, sent=exchange.sent)
        if self.observe is not None and seen is not None:
            self.observe(seen)
        if exchange.sent and exchange.over:
            # After the deadline the answer does not count, whatever was read. To the reader, a connection that we cut
            # looks like one that the platform ended, so a partial answer would look whole.
            return DeadlineExceeded(f"no whole answer within {self.deadline:g} s")
        return failure


def meaning_of(error: Exception, *, sent: bool) -> QueryError:
    """Translate a library's error into a QueryError. `sent`: whether the first byte of the request was sent."""
    if not sent:
        return Unreachable(f"no connection: {describe(error)}")
    if isinstance(error, (TimeoutError, TimeoutOfUrllib3)):
        return DeadlineExceeded(f"no answer in time: {describe(error)}")
    return Malformed(f"the connection broke, or the answer is not HTTP: {describe(error)}")


def _with_excerpt(error: QueryError, received: Received) -> QueryError:
    error.http_status = error.http_status or received.status
    error.excerpt = error.excerpt or _excerpt(received)
    return error


def _excerpt(received: Received) -> str:
    try:
        return excerpt_of(decoded(bytes(received.body), received.content_encoding), received.content_type)
    except Malformed:
        # The compressed body is incomplete or damaged. Its bytes are of no use to a person.
        return ""


def _quieten_urllib3() -> None:
    # At DEBUG these loggers log each URL, including its signature. At WARNING they also log the URL if an answer's
    # headers are damaged; we report such an answer ourselves. The level is set here as well as in `configure_logging`,
    # because it must also apply in a program that does not call `configure_logging`.
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response"):
        logging.getLogger(name).setLevel(logging.ERROR)
