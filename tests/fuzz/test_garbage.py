"""The readers of answers and callbacks under garbage: no error but ours, no settlement, bounded memory."""

import json
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.recipes import SETTLING, Piece, pieces, settling
from tests.support.examples import examples
from tests.unit.domain.builders import APP_ID, MOBILE, NOW, RULES, SCHEDULE, leased, make_order, make_query, make_state
from worker.adapters.platform.client import decoded
from worker.domain.callbacks.bodies import Callback, read_callback
from worker.domain.orders.check_fields import read_order
from worker.domain.orders.settlement import settle
from worker.domain.orders.verdicts import judge
from worker.domain.queries.after_reply import after_answer
from worker.domain.records.incoming import Answer, QueryError, Submission
from worker.domain.records.orders import IdKind, Order, Source
from worker.domain.wire.replies import BODY_LIMIT, read_answer

pytestmark = pytest.mark.slow

SEED = 20160131
FEWEST_PIECES = 300
LARGE = 1_000_000
"""Bytes; what is larger is read once only, to save time."""
MOST_MEMORY = 64 * BODY_LIMIT
"""Bytes, at most, for one answer: Python's own reader holds each `{}`, of two bytes and a comma, in 72."""

CONTENT_TYPES = ("application/json;charset=utf-8", "text/html; charset=GBK")
CONTENT_ENCODINGS = (None, "gzip", "deflate", "br")


def orders_of(kind: IdKind, count: int) -> list[Order]:
    """The orders of a query for R1, R2, ... or C1, C2, ..."""
    if kind is IdKind.REQUEST_ID:
        return [make_order(number, mobile=MOBILE) for number in range(1, count + 1)]
    return [make_order(n, request_id=None, custom_parm=f"C{n}", mobile=MOBILE) for n in range(1, count + 1)]


QUERIES = [make_query(orders_of(kind, count)) for kind in IdKind for count in (1, 2, 100)]


def answers_in(body: bytes, ids: Sequence[str], kind: IdKind) -> Iterator[Answer]:
    """The answers that the real reader returns for a body, under any headers. Only our own errors are caught."""
    content_types = CONTENT_TYPES if len(body) < LARGE else CONTENT_TYPES[:1]
    for content_encoding in CONTENT_ENCODINGS:
        try:
            plain = decoded(body, content_encoding)
        except QueryError:
            continue
        for content_type in content_types:
            try:
                yield read_answer(plain, content_type, kind, ids)
            except QueryError as error:
                check_texts(str(error), error.excerpt, error.status_msg or "", error.status_code or "")


def check_texts(*texts: str) -> None:
    """The text of an error can be stored and shown, whatever the garbage held."""
    for text in texts:
        assert len(text) <= 2000
        assert "\x00" not in text
        text.encode()


def settled_by(body: bytes) -> list[str]:
    """The orders that a body settles as an answer to any of the queries."""
    found: list[str] = []
    for query in QUERIES if len(body) < LARGE else QUERIES[1:2]:
        rows = [leased(order) for order in query.orders]
        for answer in answers_in(body, query.ids, query.id_kind):
            effects = after_answer(
                query, answer, rows, make_state(echoes_custom_parm=True), schedule=SCHEDULE, now=NOW, rules=RULES
            )
            found.extend(change.after.polled_id for change in effects.changes if change.settles)
    return found


def settled_by_callback(body: bytes) -> list[str]:
    """The orders that a body settles as a callback that its receiver has parsed and sent on."""
    try:
        item = json.loads(body.decode())
    except (ValueError, RecursionError):
        # A receiver of callbacks could not have sent it on.
        return []
    assert isinstance(read_order(item, ("default",), NOW), Submission | tuple)
    callback = read_callback(item)
    if not isinstance(callback, Callback):
        return []
    found: list[str] = []
    for query in QUERIES[:1] + QUERIES[-1:]:
        order = query.orders[0]
        if order.polled_id in (callback.report.request_id, callback.report.custom_parm):
            verdict = judge(order, [callback.report], app_id=APP_ID, polled_by=None)
            found.extend([order.polled_id] * settle(order, verdict, source=Source.CALLBACK, now=NOW).settles)
    return found


def peak_of(body: bytes) -> int:
    """The most bytes that Python held at once while it read a body and decided upon it."""
    query = QUERIES[2]
    rows = [leased(order) for order in query.orders]
    tracemalloc.start()
    try:
        for answer in answers_in(body, query.ids, query.id_kind):
            after_answer(query, answer, rows, make_state(), schedule=SCHEDULE, now=NOW, rules=RULES)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def corpus() -> list[Piece]:
    """The pieces of the seed."""
    return list(pieces(SEED))


def test_only_its_damage_keeps_the_garbage_from_settling() -> None:
    whole = settling().encode()
    assert settled_by(whole)
    assert settled_by_callback(whole)
    assert json.loads(whole) == SETTLING


def test_no_garbage_settles_an_order_or_raises_any_error_but_ours(corpus: list[Piece]) -> None:
    assert len({body for _, body in corpus}) >= FEWEST_PIECES
    settled = {name: found for name, body in corpus if (found := settled_by(body) + settled_by_callback(body))}
    assert not settled


def test_memory_is_bounded_whatever_comes(corpus: list[Piece]) -> None:
    # The others are too small to need much: only a bomb is small and large at once.
    heavy = [(name, body) for name, body in corpus if len(body) >= LARGE or "bomb" in name]
    assert len(heavy) >= 8
    peaks = {name: peak_of(body) for name, body in heavy}
    assert {name: peak for name, peak in peaks.items() if peak > MOST_MEMORY} == {}


@settings(max_examples=examples(100))
@given(st.data())
def test_a_damaged_answer_raises_no_error_but_ours(data: st.DataObject) -> None:
    body = bytearray(
        f'{{"statusCode":"0","list":[{settling()},{settling(requestId=chr(34) + "R2" + chr(34))}]}}'.encode()
    )
    for _ in range(data.draw(st.integers(1, 5), label="how many positions")):
        at = data.draw(st.integers(0, len(body) - 1))
        cut = data.draw(st.integers(0, 4))
        body[at : at + cut] = data.draw(st.binary(max_size=4))
    settled = settled_by(bytes(body))
    assert {name[:1] for name in settled} <= {"R", "C"}
    settled_by_callback(bytes(body))
