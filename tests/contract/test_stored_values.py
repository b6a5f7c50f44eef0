"""On every database: every field of an order and of an account's state is read as it was written."""

from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_type_hints

from tests.support.reconciling import Workbench
from worker.domain.records.accounts import AccountState, Pause
from worker.domain.records.order_changes import Change
from worker.domain.records.orders import Lane, Order
from worker.operations.save_orders import save_orders


def filled(kind: type, now: datetime, **given: Any) -> Any:
    """A record in which no field has its default, and no two of a type the same value."""
    samples: dict[type, Any] = {
        bool: lambda _: True,
        int: lambda number: number,
        float: float,
        str: "text {}".format,
        datetime: lambda number: now - timedelta(hours=number),
        Decimal: Decimal,
    }
    values = {}
    for number, field in enumerate((one for one in fields(kind) if one.name not in given), 1):
        hint = get_type_hints(kind)[field.name]
        (of_type,) = (one for one in get_args(hint) or (hint,) if one is not NoneType)
        values[field.name] = list(of_type)[-1] if issubclass(of_type, Enum) else samples[of_type](number)
    return kind(**values | given)


def test_an_accounts_state(bench: Workbench) -> None:
    (order,) = bench.add("a")
    pause = filled(Pause, order.submitted_at)
    other = Pause(paused_at=pause.paused_at + timedelta(days=1))
    state = filled(AccountState, order.submitted_at, account="default", pauses=(pause, other))
    bench.put_state(state)
    assert bench.state() == state


def test_an_order(bench: Workbench) -> None:
    (before,) = bench.add("a")
    fixed = {"id": before.id, "account": before.account, "created_at": before.created_at}
    with bench.database.write() as connection:
        now = bench.database.now(connection)
        # In another lane than that of batches two age buckets are enough.
        changes = {"lane": Lane.LONE_SUSPECT, "age_bucket": 1, "version": before.next_version(now)}
        after = filled(Order, before.submitted_at, **fixed, **changes)
        save_orders(connection, [Change(before=before, after=after)], now)
    assert bench.orders() == [after]
