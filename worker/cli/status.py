"""`reconciler status`: may we ask, and if not, why not."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.output import NO_WORKER_YET, AsJson, console, due_in_words, print_json, seconds_left, text_of
from worker.cli.table import print_table

if TYPE_CHECKING:
    from worker.cli.session import Session

_SLOT_COLUMNS = ("accounts", "slot", "next_query", "in_flight_query_id")
_ACCOUNT_COLUMNS = ("account", "asks", "last_query", "ended", "settled")


def status(as_json: AsJson = False) -> None:
    """Show when the next query may be sent, which accounts wait and why, and how each one's last query ended.

    Times are by the database's clock; on the host that asked last, the worker goes by that host's own clock.
    """
    from worker.cli.session import session

    with session() as opened:
        state = _read(opened)
    if as_json:
        print_json(state)
    elif not state["slots"]:
        typer.echo(NO_WORKER_YET)
    else:
        out = console()
        print_table(out, _SLOT_COLUMNS, [_slot_row(slot) for slot in state["slots"]], title="Budget", ids=("accounts",))
        rows = [_account_row(account, state["now"]) for account in state["accounts"]]
        print_table(out, _ACCOUNT_COLUMNS, rows, title="Accounts", ids=("account",), notes=("asks", "ended"))


def _read(opened: "Session") -> dict[str, Any]:
    from worker.stores.command_line_reads import accounts, last_query, slots

    of_sid = opened.accounts_by_sid()
    with opened.database.read() as connection:
        now = opened.database.now(connection)
        budget = slots(connection, slots_per_sid=opened.settings.queries_per_window)
        known = accounts(connection)
        return {
            "now": now,
            "slots": [
                {
                    **slot,
                    "accounts": of_sid.get(slot["account_sid"], []),
                    "due_in_seconds": seconds_left((slot["due_at"] - now).total_seconds()),
                }
                for slot in budget
            ],
            "accounts": [{**account, "last_query": last_query(connection, account["account"])} for account in known],
        }


def _slot_row(slot: Mapping[str, Any]) -> dict[str, object]:
    names = ", ".join(slot["accounts"]) or f"not configured: {slot['account_sid']}"
    return {**slot, "accounts": names, "next_query": due_in_words(slot["due_in_seconds"])}


def _account_row(account: Mapping[str, Any], now: datetime) -> dict[str, object]:
    query = account["last_query"] or dict.fromkeys(("sent_at", "outcome", "status_code", "status_msg", "settled_count"))
    words = [str(query[name]) for name in ("outcome", "status_code", "status_msg") if query[name] is not None]
    return {
        "account": account["account"],
        "asks": _manner(account, now),
        "last_query": query["sent_at"],
        "ended": " ".join(words),
        "settled": query["settled_count"],
    }


def _manner(account: Mapping[str, Any], now: datetime) -> str:
    if account["paused_at"] is not None:
        return f"not: paused by an operator since {text_of(account['paused_at'])}"
    until = account["backoff_until"]
    manner = "one order a query" if account["one_item_mode"] or account["configuration_refused"] else "batches"
    if until is None or until <= now:
        return manner
    why = "the platform refused the configuration (-205)" if account["configuration_refused"] else "backs off"
    return f"{why}: {(until - now).total_seconds():,.0f} s more"
