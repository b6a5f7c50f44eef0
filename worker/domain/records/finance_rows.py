"""What finance reads of orders, and a platform's statement, row by row."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from worker.domain.records.orders import OrderState, Source


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledOrder:
    """A final order, archived or not. Amounts are yuan."""

    account: str
    state: OrderState
    settled_by: Source | None
    submitted_at: datetime
    settled_at: datetime
    expected_amount: Decimal | None
    charged_amount: Decimal | None
    """What the platform, or the operator who settled it, said it charged. An echoed price is no charge."""
    heard_callback: bool
    """Whether a callback about it ever came, before or after it settled, believed or not. Only known of an order that
    a query has settled; else False."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnOrder:
    """An order of ours, archived or not, as it is compared with a row of a statement."""

    id: int
    account: str
    request_id: str | None
    custom_parm: str | None
    state: OrderState
    charged_amount: Decimal | None
    echoed_price: Decimal | None = None
    """Of a failed order: the amount that the platform named beside it, where that is its price and no charge."""
    at: datetime | None
    """The time by which the period selects: of its submission, or when it was settled (None: it is not)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatementRow:
    """One row of a platform's statement that can be read."""

    line: int
    """Of the file, from 1."""
    request_id: str
    state: OrderState
    """`succeeded`, `failed` or `pending`."""
    amount: Decimal | None
    """In yuan; None where the row has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadableRow:
    """One row of a statement that cannot be compared, and why."""

    line: int
    request_id: str
    """As it stands there."""
    why: str
