"""Explain to people how a reply of the platform was read and what it proves. They need this for the first replies.

The functions that read every answer read this reply, too. So the explanation shows what the worker makes of the reply's
bytes. The explanation also shows what the reply says about each of our assumptions about the platform. We assume
something if the platform's page contradicts itself or is silent. docs/platform.md lists the assumptions by number, and
says what confirms and what contradicts each one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from functools import cached_property

from worker.domain.accounts.platform_habits import FEWEST_IDS_AS_EVIDENCE
from worker.domain.orders.verdicts import Verdict
from worker.domain.queries.after_failure import says_too_frequent
from worker.domain.queries.reply_items import items_by_order, verdicts_on
from worker.domain.records.accounts import Rules
from worker.domain.records.incoming import Answer, Charset, HttpError, QueryError, Refused, Report, Shape
from worker.domain.records.orders import IdKind, Order, TrafficStatus
from worker.domain.records.queries import Asked
from worker.domain.wire.fields import read_amount, shows_mobile
from worker.domain.wire.replies import (
    NO_ITEMS,
    Found,
    Item,
    ShapeFault,
    charset_of,
    items_in,
    named_id,
    parsed,
    read_answer,
    read_item,
)
from worker.domain.wire.strict_json import JsonFault


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A reply to a query, and how it is read. The texts are the platform's own: mask them before you show them."""

    query: Asked
    """The query. If its app id is unknown (empty), the first app id that an item names is used."""
    body: bytes
    content_type: str | None = None
    http_status: int | None = None
    """The HTTP status of the reply; None if it was not recorded. If it is None, 200 is assumed."""
    rules: Rules

    @cached_property
    def read(self) -> Answer | QueryError:
        """The answer, or the error that says why the reply is not an answer."""
        if self.http_status is not None and self.http_status != 200:
            return HttpError(self.http_status)
        try:
            return read_answer(self.body, self.content_type, self.query.id_kind, self.query.ids)
        except QueryError as error:
            return error

    @property
    def answer(self) -> Answer | None:
        """The answer; None if the reply is not an answer."""
        return self.read if isinstance(self.read, Answer) else None

    @cached_property
    def found(self) -> Found | None:
        """The items, including those of an error object; None if the body is not JSON."""
        try:
            return items_in(parsed(self.body, self.content_type), frozenset(self.query.ids)) or NO_ITEMS
        except JsonFault:
            return None
        except ShapeFault:
            return NO_ITEMS

    @property
    def shape(self) -> Shape:
        """The recognised shape of the reply."""
        if isinstance(self.read, Refused):
            return Shape.ERROR_OBJECT
        return self.found.shape if self.answer and self.found else Shape.UNREADABLE

    @property
    def charset(self) -> Charset:
        """The character set in which the body is read."""
        return charset_of(self.body, self.content_type)

    @property
    def items(self) -> Sequence[Item]:
        """The items as the platform sent them, in order."""
        return self.found.items if self.found else ()

    @cached_property
    def reports(self) -> Sequence[Report]:
        """The items as the worker reads them, in order."""
        return [read_item(item, self.query.id_kind, self.query.ids) for item in self.items]

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict | None]:
        """The verdict on each polled order, by polled id; None if the answer leaves the order out. Empty without an
        answer."""
        if self.answer is None:
            return {}
        app_id = next((report.app_id for report in self.reports if report.app_id), "")
        query = replace(self.query, app_id=self.query.app_id or app_id)
        found = verdicts_on(query, self.answer, query.orders, self.rules)
        return {order.polled_id: found.get(order.id) for order in query.orders}

    def order_of(self, report: Report) -> str | None:
        """The polled id of the order that an item is about; None if the item is about no polled order."""
        own = named_id(report, self.query.id_kind)
        if own in self.query.ids:
            return own
        # If the query polled only one order, the item may lack the order's id.
        items = {} if self.answer is None else items_by_order(self.query, self.answer)
        return next((order.polled_id for order in self.query.orders if report in items.get(order.id, ())), None)


def asked_of(ids: Sequence[str], id_kind: IdKind) -> Asked:
    """A query for orders of which only these ids are known."""
    never = datetime.min.replace(tzinfo=UTC)
    unknown = Order(id=0, account="", submitted_at=never, due_at=never)
    orders = [replace(unknown, id=number, request_id=identity) for number, identity in enumerate(ids)]
    if id_kind is IdKind.CUSTOM_PARM:
        orders = [replace(order, request_id=None, custom_parm=order.request_id) for order in orders]
    return Asked(app_id="", id_kind=id_kind, orders=tuple(orders))


class Assumption(IntEnum):
    """The assumptions about the platform, with their numbers in docs/platform.md."""

    ID_FIELD = 1
    ADDRESS = 2
    SIGNATURE = 3
    PLAIN_IDS = 4
    HTTP_200 = 5
    ERROR_OBJECT = 6
    SEVERAL_ORDERS = 7
    NAMED_BY_ID = 8
    LEFT_OUT = 9
    ALL_AT_ONCE = 10
    ECHO = 11
    FIELDS = 12
    STATUS = 13
    AMOUNT = 14
    FAILED_AMOUNT = 15
    MASK = 16
    CHARSET = 17
    TOO_FREQUENT = 18


class Standing(StrEnum):
    """What a reply says about an assumption."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    OPEN = "open"
    """The reply says nothing about the assumption: another reply is needed."""


def standings(reply: Explanation) -> Mapping[Assumption, Standing]:
    """What a reply says about each assumption."""
    said = {**_of_answer(reply), **_of_items(reply)}
    return {one: _standing(*said[one]) for one in Assumption}


def _of_answer(reply: Explanation) -> dict[Assumption, tuple[bool, bool]]:
    """The assumptions about whole replies, each with (whether the reply confirms it, whether the reply contradicts
    it)."""
    answer, status = reply.answer, reply.http_status
    refusal = reply.read if isinstance(reply.read, Refused) else None
    named, count, polled = len(answer.said) if answer else 0, len(reply.reports), len(reply.query.ids)
    by_request_id = reply.query.id_kind is IdKind.REQUEST_ID
    speaks = answer is not None or refusal is not None
    is_odd = reply.shape is Shape.UNREADABLE and reply.found is not None and status in (None, 200)
    hides_items = refusal is not None and any(report.traffic_sts for report in reply.reports)
    says_too_often = refusal is not None and says_too_frequent(refusal.status_msg)
    return {
        Assumption.ID_FIELD: (by_request_id and named > 0, refusal is not None and refusal.status_code == "-2"),
        Assumption.ADDRESS: (speaks, status in (404, 405)),
        Assumption.SIGNATURE: (answer is not None, status in (401, 403)),
        Assumption.HTTP_200: (speaks and status is not None, status not in (None, 200)),
        Assumption.ERROR_OBJECT: (refusal is not None, hides_items),
        Assumption.SEVERAL_ORDERS: (named > 1, is_odd and polled > 1),
        Assumption.LEFT_OUT: (answer is not None and 0 < named < polled, False),
        Assumption.ALL_AT_ONCE: (named > 1, polled >= FEWEST_IDS_AS_EVIDENCE and count == 1),
        Assumption.ECHO: (not by_request_id and named > 0, not by_request_id and count > 0 and not named),
        Assumption.CHARSET: (answer is not None and not reply.body.isascii(), reply.charset is Charset.UNKNOWN),
        Assumption.TOO_FREQUENT: (says_too_often, status == 429),
    }


def _of_items(reply: Explanation) -> dict[Assumption, tuple[bool, bool]]:
    """The assumptions about items, each with (whether the reply's items confirm it, whether they contradict it)."""
    reports, kind = reply.reports, reply.query.id_kind
    nameless = [report for report in reports if named_id(report, kind) is None]
    amounts = [report.ori_amount for report in reports if report.ori_amount]
    mobiles = [report.mobile for report in reports if report.mobile]
    failed = [report for report in reports if report.status is TrafficStatus.FAILED]
    several = reply.answer is not None and len(reply.answer.said) > 1
    return {
        Assumption.PLAIN_IDS: (several, any(set("[],") & set(named_id(report, kind) or "") for report in reports)),
        Assumption.NAMED_BY_ID: (bool(reports) and not nameless, kind is IdKind.REQUEST_ID and bool(nameless)),
        Assumption.FIELDS: (bool(reports), any(report.fault for report in reports)),
        Assumption.STATUS: (bool(reports), any(report.status is None for report in reports)),
        Assumption.AMOUNT: (bool(amounts), any(read_amount(amount) is None for amount in amounts)),
        Assumption.FAILED_AMOUNT: (bool(failed), any(read_amount(report.ori_amount) for report in failed)),
        Assumption.MASK: (bool(mobiles), not all(shows_mobile(mobile, None) for mobile in mobiles)),
    }


def _standing(confirms: bool, contradicts: bool) -> Standing:
    if contradicts:
        return Standing.CONTRADICTED
    return Standing.CONFIRMED if confirms else Standing.OPEN
