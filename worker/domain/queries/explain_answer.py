"""How a reply of the platform was read, and what it proves: for the person who sees the first ones.

It is read by the functions that read each answer, so that it tells what the worker makes of these bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

from worker.domain.orders.verdicts import Verdict
from worker.domain.queries.answer_items import items_by_order, verdicts_on
from worker.domain.records.accounts import Rules
from worker.domain.records.answers import Answer, Charset, HttpError, QueryError, Refused, Report, Shape
from worker.domain.records.orders import IdKind, Order
from worker.domain.records.queries import Asked
from worker.domain.wire.answers import (
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
    """A reply to a query, and how it is read. Its texts are the platform's own: to be masked before they are shown."""

    query: Asked
    """With an empty app id where that is not known: the first one that an item names counts then."""
    body: bytes
    content_type: str | None = None
    http_status: int | None = None
    """None where it was not recorded: then 200 is assumed."""
    rules: Rules

    @cached_property
    def read(self) -> Answer | QueryError:
        """The answer, or why it is none."""
        if self.http_status is not None and self.http_status != 200:
            return HttpError(self.http_status)
        try:
            return read_answer(self.body, self.content_type, self.query.id_kind, self.query.ids)
        except QueryError as error:
            return error

    @property
    def answer(self) -> Answer | None:
        """The answer; None where it is none."""
        return self.read if isinstance(self.read, Answer) else None

    @cached_property
    def found(self) -> Found | None:
        """The items, also those of an error object; None where the body is no JSON at all."""
        try:
            return items_in(parsed(self.body, self.content_type), frozenset(self.query.ids)) or NO_ITEMS
        except JsonFault:
            return None
        except ShapeFault:
            return NO_ITEMS

    @property
    def shape(self) -> Shape:
        """The shape that was recognised."""
        if isinstance(self.read, Refused):
            return Shape.ERROR_OBJECT
        return self.found.shape if self.answer and self.found else Shape.UNREADABLE

    @property
    def charset(self) -> Charset:
        """How its bytes are read."""
        return charset_of(self.body, self.content_type)

    @property
    def items(self) -> Sequence[Item]:
        """The items, in order, as they came."""
        return self.found.items if self.found else ()

    @cached_property
    def reports(self) -> Sequence[Report]:
        """The same as they are read."""
        return [read_item(item, self.query.id_kind, self.query.ids) for item in self.items]

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict | None]:
        """By the id of each polled order: what is proved; None where the answer leaves it out. Empty without an
        answer."""
        if self.answer is None:
            return {}
        app_id = next((report.app_id for report in self.reports if report.app_id), "")
        query = replace(self.query, app_id=self.query.app_id or app_id)
        found = verdicts_on(query, self.answer, query.orders, self.rules)
        return {order.polled_id: found.get(order.id) for order in query.orders}

    def order_of(self, report: Report) -> str | None:
        """The polled id that an item is about; None where it is about none."""
        own = named_id(report, self.query.id_kind)
        if own in self.query.ids:
            return own
        # A lone order's item may come without its name.
        items = {} if self.answer is None else items_by_order(self.query, self.answer)
        return next((order.polled_id for order in self.query.orders if report in items.get(order.id, ())), None)


def asked_of(ids: Sequence[str], id_kind: IdKind) -> Asked:
    """A query for orders of which nothing but these ids is known."""
    never = datetime.min.replace(tzinfo=UTC)
    unknown = Order(id=0, account="", submitted_at=never, due_at=never)
    orders = [replace(unknown, id=number, request_id=identity) for number, identity in enumerate(ids)]
    if id_kind is IdKind.CUSTOM_PARM:
        orders = [replace(order, request_id=None, custom_parm=order.request_id) for order in orders]
    return Asked(app_id="", id_kind=id_kind, orders=tuple(orders))
