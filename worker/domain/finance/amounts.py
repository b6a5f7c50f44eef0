"""What orders should cost and what they did cost, in yuan, one by one and in sums."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from worker.domain.records.orders import OrderState


class Amounts(NamedTuple):
    """The amounts of one order."""

    due: Decimal | None
    """What it should cost: what the billing system expects, and nothing where the recharge failed. None: it did not
    say."""
    charged: Decimal | None
    """What the platform, or the operator who settled it, said it charged. None: not known, or not final yet."""

    @property
    def difference(self) -> Decimal | None:
        """By how much was charged more than was due; None where either is not known."""
        return None if self.charged is None or self.due is None else self.charged - self.due


def amounts_of(state: OrderState, expected: Decimal | None, named: Decimal | None, *, is_price: bool) -> Amounts:
    """The amounts of an order in this state; `named` is the amount that the platform named beside its status, or the
    operator, and `is_price` says that it is no charge."""
    due = Decimal(0) if state is OrderState.FAILED else expected
    return Amounts(due, named if state.is_final and not is_price else None)


@dataclass(kw_only=True, slots=True)
class Sums:
    """The amounts of some orders, as far as they are known."""

    count: int = 0
    due: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    difference: Decimal = Decimal(0)

    def add(self, amounts: Amounts) -> None:
        """Count one more."""
        self.count += 1
        self.due += amounts.due or 0
        self.charged += amounts.charged or 0
        self.difference += amounts.difference or 0
