"""The output of `reconciler status`: JSON, and tables for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from worker.cli.accounts import PLANNED, habits_to_response, pauses_to_response
from worker.cli.notifications import endpoint_rows
from worker.cli.output import (
    SKIN,
    duration_text,
    outcome_name,
    pause_in_words,
    print_table,
    stored_name,
    text,
    time_text,
    word_of,
)
from worker.domain.accounts.waits import may_query_at
from worker.domain.monitoring.findings import (
    SharedBudget,
    Thresholds,
    back_off_reason,
    check,
    shared_budgets,
    too_frequent,
)
from worker.domain.monitoring.worker_processes import is_ticking, polled_accounts
from worker.domain.notifications.endpoint_watch import endpoint_views
from worker.domain.records.accounts import AccountState, Pause, Rules
from worker.domain.records.monitoring import AccountOverview, Finding, Level, WorkerRow
from worker.domain.records.orders import Source
from worker.views.status import Status
from worker.words import N_, catalogue
from worker.words.sentences import finding_in_words

Row = Mapping[str, Any]

_SLOTS = ("accounts", "slot", "next_query", "in_flight_query_id")
_WORKERS = ("host", "pid", "version", "started_at", "last_tick", "broker", "waiting", "clock")
_ORDERS = ("account", "pending", "due", "oldest_due", "never_polled", "in_flight", "drained_in")
_QUERIES = ("account", "polls", "last_query", "ended", "settled", "last_batches")
_SETTLED = ("account", "last_hour", "last_day", "callbacks_lost")
# The fields of each kind of row that JSON has unchanged.
_WORKER_FIELDS = (
    *("name", "host", "pid", "started_at", "last_tick_at", "written_at", "accounts", "broker_asked_at"),
    *("broker_answered_at", "last_beat_at", "hanging_since", "database_full_at", "version"),
    *("orders_waiting", "ticks_waiting", "queue_empty_at", "taken_in_at", "other_deployment_at"),
)
_COUNTS = ("account", "pending", "due", "oldest_due_at", "never_polled", "in_flight")
_STATE = (
    *("backoff_until", "backoff_level", "configuration_refused", "failures_in_row", "one_item_mode"),
    "echoes_custom_parm",
)
_MOST_BATCHES = 10
_BATCHES_SHOWN = 5
_LEVELS = {"critical": "bold red", "warning": "yellow"}
_NO_SLOTS = N_("No worker has run on this database yet: start one with `reconciler run`.")
_MORE = N_("See also `reconciler todo`, `reconciler notifications`, `reconciler acts`.")
_WELL = N_("All is well: a worker ticks, and nothing waits longer than it has to.")


def to_response(status: Status, names: Mapping[str, Sequence[str]], thresholds: Thresholds, rules: Rules) -> Row:
    """The status as JSON. `names` maps each account SID to the names of its accounts."""
    overview, workers = status.overview, status.overview.workers
    budgets = shared_budgets(overview.accounts, overview.now, rules)
    polled = polled_accounts(workers, budgets, overview.now, thresholds.tick_seconds)
    # None if no worker ticks: then `is_served` is unknown.
    has_worker = is_ticking(workers, overview.now, thresholds.tick_seconds) or None
    states = {one.account: one.state for one in overview.accounts}
    return {
        "now": overview.now,
        "findings": [finding_to_response(one) for one in check(overview, thresholds, rules)],
        "workers": [_worker(row, overview.now) for row in workers],
        "last_beat_at": max((row.last_beat_at for row in workers if row.last_beat_at is not None), default=None),
        "slots": [_slot(slot, names.get(slot["account_sid"], []), states, overview.now) for slot in status.slots],
        "accounts": [
            {
                **_account(one, overview.now, budgets[one.account], status.last_queries[one.account], rules),
                "is_served": has_worker and one.account in polled,
            }
            for one in overview.accounts
        ],
        "endpoints": endpoint_rows(endpoint_views(overview.endpoints, overview.notifications, overview.now)),
        "acts": list(status.acts),
    }


def finding_to_response(one: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    words = finding_in_words(one, SKIN)
    return {"level": one.level.name.lower(), "name": one.name, "account": one.account, "in_words": words}


def _slot(slot: Row, names: Sequence[str], states: Mapping[str, AccountState], now: datetime) -> Row:
    query_at = may_query_at(slot["due_at"], [states[name] for name in names], now)
    return {
        **slot,
        "accounts": names,
        "due_in_seconds": _rest((slot["due_at"] - now).total_seconds()),
        # None if all accounts of the slot are paused.
        "next_query_in_seconds": None if query_at is None else _rest((query_at - now).total_seconds()),
    }


def _worker(row: WorkerRow, now: datetime) -> Row:
    tick = row.last_tick_at
    return {
        **_copied(row, _WORKER_FIELDS),
        "last_tick_seconds_ago": None if tick is None else _rest((now - tick).total_seconds()),
        "clock_offset_seconds": round(row.clock_offset_seconds, 3),
    }


def _account(one: AccountOverview, now: datetime, budget: SharedBudget, query: Row | None, rules: Rules) -> Row:
    state = one.state
    why = back_off_reason(one, budget) if state.is_backed_off(now) else None
    return {
        **_copied(one, _COUNTS),
        **_copied(state, _STATE),
        **pauses_to_response(state, now),
        "is_configured": one.account_sid is not None,
        "minutes_to_drain": round(budget.drain_seconds / 60, 2) if one.due else 0,
        "settled_last_hour": dict(one.settled_hour),
        "settled_last_day": dict(one.settled_day),
        "attention": dict(one.attention),
        "unresolved": {"none" if reason is None else reason: count for reason, count in one.unresolved.items()},
        "lost_callbacks_share": None if one.lost_share is None else round(one.lost_share, 4),
        "backoff_reason": None if why is None else catalogue.name(why, SKIN),
        "too_frequent_last_hour": len(too_frequent(one.queries, now)),
        "last_query": query,
        "last_batches": one.batches[:_MOST_BATCHES],
        "batch_size": rules.batch_size,
        "platform_habits": habits_to_response(state),
    }


def _copied(one: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def show(out: Console, response: Row) -> None:
    """Print the status for people: first the findings, then all tables."""
    now, found = response["now"], response["findings"]
    for finding in found:
        level = finding["level"]
        # `said` may contain an account's name, which Rich must not read as markup. A `Text` is never read as markup.
        label = stored_name(level.upper(), catalogue.message(Level[level.upper()]))
        said = text(": %(reason)s.", finding["in_words"])
        out.print(Text.assemble((label, _LEVELS[level]), said), soft_wrap=True)
    if not found:
        out.print(text(_WELL))
    out.print()
    accounts = response["accounts"]
    marks = {one["account"]: _mark(one, now) for one in accounts}
    rows = [_worker_row(row, now) for row in response["workers"]]
    _table(out, _workers_title(response), _WORKERS, rows, ids=("host", "version"))
    if response["slots"]:
        _table(out, text("Budget"), _SLOTS, [_slot_row(slot, marks) for slot in response["slots"]], ids=("accounts",))
    else:
        out.print(text(_NO_SLOTS), soft_wrap=True)
        out.print()
    _table(out, text("Orders"), _ORDERS, [_orders_row(one, now) for one in accounts])
    planned = [{"account": one["account"], **plan} for one in accounts for plan in one["planned_pauses"]]
    _table(out, text("Planned pauses"), ("account", *PLANNED), planned, long_texts=("planned_reason",))
    queries = [_queries_row(one, now) for one in accounts]
    _table(out, text("Queries"), _QUERIES, queries, long_texts=("polls", "ended"))
    _table(out, text("Settled"), _SETTLED, [_settled_row(one) for one in accounts])
    out.print(text(_MORE), soft_wrap=True)


def _table(
    out: Console,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    ids: Sequence[str] = ("account",),
    long_texts: Sequence[str] = (),
) -> None:
    if listed := list(rows):
        print_table(out, columns, listed, title=title, ids=ids, long_texts=long_texts)


def _workers_title(response: Row) -> str:
    beat = response["last_beat_at"]
    if beat is None:
        return text("Workers")
    return text("Workers (last tick of beat: %(ago)s)", _ago(beat, response["now"]))


def _worker_row(row: Row, now: datetime) -> Row:
    tick, offset = row["last_tick_at"], row["clock_offset_seconds"]
    answered = row["broker_answered_at"]
    ticked = text("none yet") if tick is None else _ago(tick, now)
    hanging = row["hanging_since"]
    silent = text("not known") if row["broker_asked_at"] is None else text("no answer yet")
    seconds = f"{abs(offset):.1f}"
    distance = text("%(seconds)s s ahead", seconds) if offset > 0 else text("%(seconds)s s behind", seconds)
    return {
        **row,
        "last_tick": ticked if hanging is None else text("hangs for %(lasts)s", now - hanging),
        "waiting": text("not known") if row["orders_waiting"] is None else f"{row['orders_waiting']:,}",
        "broker": silent if answered is None else text("answered %(ago)s", _ago(answered, now)),
        "clock": distance if abs(offset) >= 0.1 else text("right"),
    }


def _ago(moment: datetime, now: datetime) -> str:
    return text("%(lasts)s ago", duration_text(_rest((now - moment).total_seconds())))


def _mark(account: Row, now: datetime) -> str:
    if account["paused_at"] is not None:
        return text(" (paused)")
    until = account["backoff_until"]
    return text(" (backs off)") if until is not None and until > now else ""


def _slot_row(slot: Row, marks: Mapping[str, str]) -> Row:
    listed = ", ".join(f"{name}{marks.get(name, '')}" for name in slot["accounts"])
    seconds = slot["next_query_in_seconds"]
    return {
        **slot,
        "accounts": listed or text("not configured: %(sid)s", slot["account_sid"]),
        "next_query": text("paused") if seconds is None else _when(seconds),
    }


def _orders_row(account: Row, now: datetime) -> Row:
    oldest = account["oldest_due_at"]
    drained_in = text("paused") if account["paused_at"] is not None else duration_text(account["minutes_to_drain"] * 60)
    numbers = {name: f"{account[name]:,}" for name in ("pending", "due", "never_polled", "in_flight")}
    return {
        **account,
        **numbers,
        "oldest_due": None if oldest is None else text("for %(lasts)s", now - oldest),
        "drained_in": drained_in if account["due"] else None,
    }


def _queries_row(account: Row, now: datetime) -> Row:
    query = account["last_query"] or {}
    words = [str(query[name]) for name in ("status_code", "status_msg") if query.get(name) is not None]
    batches = " ".join(map(str, account["last_batches"][:_BATCHES_SHOWN]))
    return {
        "account": account["account"],
        "polls": _manner(account, now),
        "last_query": query.get("sent_at"),
        "ended": " ".join([outcome_name(query.get("outcome")), *words]).strip(),
        "settled": query.get("settled_count"),
        "last_batches": batches and text("%(batches)s of %(most)s", batches, account["batch_size"]),
    }


def _manner(account: Row, now: datetime) -> str:
    if pauses := account["pauses"]:
        return text("not: %(why)s", "; ".join(pause_in_words(Pause(**one)) for one in pauses))
    if account["is_served"] is False:
        return text("not: no running worker has it")
    if account["is_served"] is None and not account["is_configured"]:
        return text("not: the settings do not name it")
    until = account["backoff_until"]
    is_alone = account["one_item_mode"] or account["configuration_refused"]
    manner = text("one order a query") if is_alone else text("batches")
    if until is None or until <= now:
        return text("%(manner)s, customParm is echoed", manner) if account["echoes_custom_parm"] else manner
    failures, why = account["failures_in_row"], account["backoff_reason"] or text("backs off")
    row = text(", %(count)s failures in a row", failures) if failures > 1 else ""
    seconds = math.ceil((until - now).total_seconds())
    more = text("%(why)s: %(seconds)s s more, until %(until)s", why, seconds, time_text(until))
    return more + row


def _settled_row(account: Row) -> Row:
    share = account["lost_callbacks_share"]
    return {
        "account": account["account"],
        "last_hour": _by_source(account["settled_last_hour"]),
        "last_day": _by_source(account["settled_last_day"]),
        "callbacks_lost": text("not known yet") if share is None else f"{share:.1%}",
    }


def _by_source(counts: Mapping[str, int]) -> str:
    by = [text("%(count)s by %(source)s", count, word_of(Source, one)) for one, count in sorted(counts.items())]
    return text(", ").join(by) or text("none")


def _rest(seconds: float) -> float:
    """The remaining seconds of a wait; 0 if the wait is over."""
    return round(max(0.0, seconds), 1)


def _when(seconds: float) -> str:
    """The result of `_rest` in words."""
    return text("in %(seconds)s s", format(seconds, ",")) if seconds else text("now")
