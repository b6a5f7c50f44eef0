"""The client of the platform's order query: one call is one query, one connection, one answer or one error."""

import logging
import os
from collections.abc import Sequence
from datetime import tzinfo
from urllib.parse import urlsplit

from worker.adapters.certificates import platform_authorities
from worker.adapters.clock import Clock
from worker.adapters.platform.answer_headers import decoded, wait_requested
from worker.adapters.platform.answer_masking import Mask
from worker.adapters.platform.errors import MAPPED, meaning_of
from worker.adapters.platform.exchange import Exchange, Received, exchange_once
from worker.domain.records.query_errors import DeadlineExceeded, HttpError, Malformed, QueryError
from worker.domain.records.reports import Answer, IdKind
from worker.domain.wire.answers import excerpt_of, read_answer
from worker.domain.wire.signed_requests import Credentials, WireRequest, build_request, timestamp_at


class PlatformClient:
    """Queries the platform. Holds no connection and no credentials: one is enough for all threads and accounts."""

    def __init__(
        self,
        *,
        base_url: str,
        version: str,
        bracketed_ids: bool,
        timezone: tzinfo,
        connect_timeout: float,
        deadline: float,
        clock: Clock,
        ca_file: str | None = None,
    ) -> None:
        """`base_url` is http or https; `connect_timeout` and `deadline` are seconds, the latter for the whole exchange.

        `ca_file` holds the certificate authorities of an https platform; without one, the environment may name them
        (`platform_authorities`). Nothing else is read from the environment: no proxy, and no .netrc.
        Raises ValueError for a base URL that is neither, or that carries a user, a query or a fragment.
        """
        parts = urlsplit(base_url)
        # A user in the URL would replace our Authorization header.
        unwanted = "@" in parts.netloc or parts.query or parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or unwanted:
            raise ValueError("the platform's URL must be http://HOST or https://HOST, without user, query or fragment")
        self._base_url = base_url
        self._version = version
        self._bracketed_ids = bracketed_ids
        self._timezone = timezone
        self._connect_timeout = connect_timeout
        self._deadline = deadline
        self._clock = clock
        self._authorities = platform_authorities(ca_file, os.environ).path
        _quieten_urllib3()

    def query(self, *, credentials: Credentials, id_kind: IdKind, ids: Sequence[str], started: float) -> Answer:
        """Poll 1 to 100 ids of one kind. `started` is the boot clock's reading from which the deadline counts.

        Never sends twice. Raises one of the errors in `worker.domain.records.query_errors`, and ValueError for ids that
        cannot be polled. No text of an answer or an error holds the credentials, even where the platform echoes
        them.
        """
        request = build_request(
            base_url=self._base_url,
            version=self._version,
            credentials=credentials,
            timestamp=timestamp_at(self._clock.now(), self._timezone),
            id_kind=id_kind,
            ids=ids,
            bracketed=self._bracketed_ids,
        )
        mask = Mask(credentials, request)
        # The error is raised outside any `except`: a library's error would stay with ours as its context, signed URL
        # included.
        outcome = self._outcome(request, id_kind, ids, started)
        if isinstance(outcome, QueryError):
            raise mask.error(outcome)
        return mask.answer(outcome)

    def _outcome(
        self, request: WireRequest, id_kind: IdKind, ids: Sequence[str], started: float
    ) -> Answer | QueryError:
        received = Received()
        failure = self._exchange(request, started, received)
        try:
            if received.status is not None and received.status != 200 and not isinstance(failure, DeadlineExceeded):
                retry_after = wait_requested(received.retry_after, self._clock.now())
                return HttpError(received.status, retry_after=retry_after, excerpt=_excerpt(received))
            if failure is not None:
                return _with_excerpt(failure, received)
            body = decoded(bytes(received.body), received.content_encoding)
            return read_answer(body, received.content_type, id_kind, ids)
        except QueryError as error:
            return _with_excerpt(error, received)

    def _exchange(self, request: WireRequest, started: float, received: Received) -> QueryError | None:
        """Exchange once; None where the whole answer came before the deadline."""
        exchange = Exchange(
            clock=self._clock, started=started, deadline=self._deadline, connect_timeout=self._connect_timeout
        )
        failure: QueryError | None = None
        try:
            with exchange:
                exchange.check_may_begin()
                exchange_once(request, exchange, received, authorities=self._authorities)
        except QueryError as error:
            failure = error
        except MAPPED as error:
            failure = meaning_of(error, sent=exchange.sent)
        if exchange.sent and exchange.over:
            # Whatever was read: a connection that was cut looks like one that ended, and its answer like a whole one.
            return DeadlineExceeded(f"no whole answer within {self._deadline:g} s")
        return failure


def _with_excerpt(error: QueryError, received: Received) -> QueryError:
    error.http_status = error.http_status or received.status
    error.excerpt = error.excerpt or _excerpt(received)
    return error


def _excerpt(received: Received) -> str:
    try:
        return excerpt_of(decoded(bytes(received.body), received.content_encoding), received.content_type)
    except Malformed:
        # Compressed, and not whole: its bytes are no use to a person.
        return ""


def _quieten_urllib3() -> None:
    # At DEBUG these log each URL, signature included; at WARNING they do so for an answer whose headers are damaged,
    # which we report ourselves. Set here too, and not only where logging is set up: it must hold in every program.
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response"):
        logging.getLogger(name).setLevel(logging.ERROR)
