"""The prices by which an account's orders are chosen: those that were stored last, the same for everybody before."""

import threading
from collections import OrderedDict
from datetime import datetime

from sqlalchemy import Connection, select

from worker.database.tables import AccountPrices, table_of
from worker.domain.pricing.prices import Prices
from worker.domain.pricing.prior import prior_prices
from worker.domain.rules import Rules
from worker.stores.learning_json import read_prices_text

PRICES = table_of(AccountPrices)

_MOST_KEPT = 1024

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, Rules], tuple[datetime, Prices]] = OrderedDict()


def read_prices(connection: Connection, account: str, rules: Rules) -> Prices:
    """The prices that hold now. To read a text of 70 KB takes a while: this process keeps what it has read."""
    is_accounts = PRICES.c.account == account
    priced_at = connection.scalar(select(PRICES.c.priced_at).where(is_accounts))
    if priced_at is None:
        return prior_prices(rules)
    with _lock:
        kept = _kept.get((account, rules))
        if kept is not None:
            _kept.move_to_end((account, rules))
    if kept is not None and kept[0] == priced_at:
        return kept[1]
    # Others may have priced anew since: what is kept is kept with its own time.
    row = connection.execute(select(PRICES.c.priced_at, PRICES.c.prices).where(is_accounts)).one()
    prices = read_prices_text(row.prices, rules) or prior_prices(rules)
    with _lock:
        _kept[account, rules] = (row.priced_at, prices)
        _kept.move_to_end((account, rules))
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return prices


def forget_prices() -> None:
    """Forget what was read: for who empties a database, or sets its clock, so that the same time comes again."""
    with _lock:
        _kept.clear()
