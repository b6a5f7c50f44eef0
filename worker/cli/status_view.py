"""What `reconciler status` shows: as JSON, and as tables for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from worker.cli.accounts import NO_SLOTS, rest, when
from worker.cli.notifications import endpoint_rows, show_endpoints
from worker.cli.output import SKIN, counted, duration_text, pause_in_words, print_table, time_text
from worker.domain.accounts.back_off import may_query_at
from worker.domain.notifications.endpoint_watch import endpoint_views
from worker.domain.records.accounts import Rules
from worker.domain.records.monitoring_findings import Finding
from worker.domain.records.overview import AccountOverview, Overview, WorkerRow
from worker.domain.watching.monitoring import Thresholds, back_off_reason, check, drain_seconds, too_frequent
from worker.domain.watching.workers import is_served, is_ticking
from worker.views.watching import Status
from worker.words import catalogue
from worker.words.monitoring_findings import finding_in_words

Row = Mapping[str, Any]

_SLOTS = ("accounts", "slot", "next_query", "in_flight_query_id")
_WORKERS = ("host", "pid", "started_at", "last_tick", "broker", "clock")
_ORDERS = ("account", "pending", "due", "oldest_due", "never_polled", "in_flight", "drained_in")
_QUERIES = ("account", "polls", "last_query", "ended", "settled", "last_batches")
_SETTLED = ("account", "last_hour", "last_day", "callbacks_lost")
_PEOPLE = ("account", "reason", "attention", "unresolved")
_ACTS = ("at", "by", "act", "account", "reason")
# What JSON has as it is read.
_WORKER_FIELDS = (
    *("name", "host", "pid", "started_at", "last_tick_at", "written_at", "accounts", "broker_asked_at"),
    *("broker_answered_at", "last_beat_at", "hanging_since"),
)
_COUNTS = ("account", "pending", "due", "oldest_due_at", "never_polled", "in_flight")
_STATE = (
    *("backoff_until", "backoff_level", "configuration_refused", "failures_in_row", "one_item_mode"),
    "echoes_custom_parm",
)
_PAUSE = ("paused_at", "paused_until", "paused_by", "pause_reason")
_MOST_BATCHES = 10
_BATCHES_SHOWN = 5
_LEVELS = {"critical": "bold red", "warning": "yellow"}
_WELL = "All is well: a worker ticks, and nothing waits longer than it has to."


def to_response(status: Status, names: Mapping[str, Sequence[str]], thresholds: Thresholds, rules: Rules) -> Row:
    """The status as JSON. `names` are the accounts of each SID."""
    overview, workers = status.overview, status.overview.workers
    return {
        "now": overview.now,
        "findings": [finding_to_response(one) for one in check(overview, thresholds, rules)],
        "workers": [_worker(row, overview.now) for row in workers],
        "last_beat_at": max((row.last_beat_at for row in workers if row.last_beat_at is not None), default=None),
        "slots": [_slot(slot, names.get(slot["account_sid"], []), overview) for slot in status.slots],
        "accounts": [
            _account(one, overview, status.last_queries[one.account], thresholds, rules) for one in overview.accounts
        ],
        "endpoints": endpoint_rows(endpoint_views(overview.endpoints, overview.notifications, overview.now)),
        "acts": list(status.acts),
    }


def finding_to_response(one: Finding) -> dict[str, Any]:
    """A finding as JSON."""
    words = finding_in_words(one, SKIN)
    return {"level": one.level.name.lower(), "name": one.name, "account": one.account, "in_words": words}


def _slot(slot: Row, names: Sequence[str], overview: Overview) -> Row:
    states = [one.state for one in overview.accounts if one.account in names]
    query_at = may_query_at(slot["due_at"], states, overview.now)
    return {
        **slot,
        "accounts": names,
        "due_in_seconds": rest((slot["due_at"] - overview.now).total_seconds()),
        # None: all of its accounts are paused.
        "next_query_in_seconds": None if query_at is None else rest((query_at - overview.now).total_seconds()),
    }


def _worker(row: WorkerRow, now: datetime) -> Row:
    tick = row.last_tick_at
    return {
        **_copied(row, _WORKER_FIELDS),
        "last_tick_seconds_ago": None if tick is None else rest((now - tick).total_seconds()),
        "clock_offset_seconds": round(row.clock_offset_seconds, 3),
    }


def _account(
    one: AccountOverview,
    overview: Overview,
    query: Row | None,
    thresholds: Thresholds,
    rules: Rules,
) -> Row:
    state, now, workers = one.state, overview.now, overview.workers
    why = back_off_reason(one, overview.accounts) if state.is_backed_off(now) else None
    # None where no worker ticks: then nobody can tell.
    has_worker = is_ticking(workers, now, thresholds.tick_seconds) or None
    return {
        **_copied(one, _COUNTS),
        **_copied(state, _STATE),
        **(_copied(state, _PAUSE) if state.is_paused(now) else dict.fromkeys(_PAUSE)),
        "is_configured": one.account_sid is not None,
        "is_served": has_worker and is_served(workers, one.account, now, thresholds.tick_seconds),
        "minutes_to_drain": round(drain_seconds(overview.accounts, one, now, rules) / 60, 2) if one.due else 0,
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
    }


def _copied(one: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def show(out: Console, response: Row) -> None:
    """Print it for people: what is wrong first, then everything."""
    now, found = response["now"], response["findings"]
    for finding in found:
        level = finding["level"]
        # The words hold an account's name, which is never to be read as markup.
        out.print(Text.assemble((level.upper(), _LEVELS[level]), f": {finding['in_words']}."), soft_wrap=True)
    if not found:
        out.print(_WELL)
    out.print()
    accounts = response["accounts"]
    marks = {one["account"]: _mark(one, now) for one in accounts}
    rows = [_worker_row(row, now) for row in response["workers"]]
    _table(out, _workers_title(response), _WORKERS, rows, ids=("host",))
    if response["slots"]:
        _table(out, "Budget", _SLOTS, [_slot_row(slot, marks) for slot in response["slots"]], ids=("accounts",))
    else:
        out.print(NO_SLOTS, soft_wrap=True)
        out.print()
    _table(out, "Orders", _ORDERS, [_orders_row(one, now) for one in accounts])
    _table(out, "Queries", _QUERIES, [_queries_row(one, now) for one in accounts], long_texts=("polls", "ended"))
    _table(out, "Settled", _SETTLED, [_settled_row(one) for one in accounts])
    _table(out, "Needs a person (`reconciler todo` lists them)", _PEOPLE, _people_rows(accounts))
    if response["endpoints"]:
        show_endpoints(out, response["endpoints"], now)
    acts = [{**act, "by": act["actor"], "account": act["account"] or "all"} for act in response["acts"]]
    _table(out, "Last acts of operators", _ACTS, acts, long_texts=("reason",))


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
    return "Workers" if beat is None else f"Workers (last tick of beat: {_ago(beat, response['now'])})"


def _worker_row(row: Row, now: datetime) -> Row:
    tick, offset = row["last_tick_at"], row["clock_offset_seconds"]
    answered = row["broker_answered_at"]
    ticked = "none yet" if tick is None else _ago(tick, now)
    hanging = row["hanging_since"]
    silent = "not known" if row["broker_asked_at"] is None else "no answer yet"
    return {
        **row,
        "last_tick": ticked if hanging is None else f"hangs for {duration_text((now - hanging).total_seconds())}",
        "broker": silent if answered is None else f"answered {_ago(answered, now)}",
        "clock": f"{abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}" if abs(offset) >= 0.1 else "right",
    }


def _ago(moment: datetime, now: datetime) -> str:
    return f"{duration_text(rest((now - moment).total_seconds()))} ago"


def _mark(account: Row, now: datetime) -> str:
    if account["paused_at"] is not None:
        return " (paused)"
    until = account["backoff_until"]
    return " (backs off)" if until is not None and until > now else ""


def _slot_row(slot: Row, marks: Mapping[str, str]) -> Row:
    listed = ", ".join(f"{name}{marks.get(name, '')}" for name in slot["accounts"])
    seconds = slot["next_query_in_seconds"]
    return {
        **slot,
        "accounts": listed or f"not configured: {slot['account_sid']}",
        "next_query": "paused" if seconds is None else when(seconds),
    }


def _orders_row(account: Row, now: datetime) -> Row:
    oldest = account["oldest_due_at"]
    drained_in = "paused" if account["paused_at"] is not None else duration_text(account["minutes_to_drain"] * 60)
    numbers = {name: f"{account[name]:,}" for name in ("pending", "due", "never_polled", "in_flight")}
    return {
        **account,
        **numbers,
        "oldest_due": None if oldest is None else f"for {duration_text((now - oldest).total_seconds())}",
        "drained_in": drained_in if account["due"] else None,
    }


def _queries_row(account: Row, now: datetime) -> Row:
    query = account["last_query"] or {}
    words = [str(query[name]) for name in ("outcome", "status_code", "status_msg") if query.get(name) is not None]
    batches = account["last_batches"][:_BATCHES_SHOWN]
    return {
        "account": account["account"],
        "polls": _manner(account, now),
        "last_query": query.get("sent_at"),
        "ended": " ".join(words),
        "settled": query.get("settled_count"),
        "last_batches": f"{' '.join(map(str, batches))} of {account['batch_size']}" if batches else None,
    }


def _manner(account: Row, now: datetime) -> str:
    if account["paused_at"] is not None:
        who = (account[name] for name in ("paused_at", "paused_until", "paused_by", "pause_reason"))
        return f"not: {pause_in_words(*who)}"
    if account["is_served"] is False:
        return "not: no running worker has it"
    if account["is_served"] is None and not account["is_configured"]:
        return "not: the settings do not name it"
    until = account["backoff_until"]
    manner = "one order a query" if account["one_item_mode"] or account["configuration_refused"] else "batches"
    if until is None or until <= now:
        return manner
    failures, why = account["failures_in_row"], account["backoff_reason"] or "backs off"
    row = f", {counted(failures, 'failure')} in a row" if failures > 1 else ""
    return f"{why}: {math.ceil((until - now).total_seconds()):,} s more, until {time_text(until)}{row}"


def _settled_row(account: Row) -> Row:
    share = account["lost_callbacks_share"]
    return {
        "account": account["account"],
        "last_hour": _by_source(account["settled_last_hour"]),
        "last_day": _by_source(account["settled_last_day"]),
        "callbacks_lost": "not known yet" if share is None else f"{share:.1%}",
    }


def _by_source(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} by {source}" for source, count in sorted(counts.items())) or "none"


def _people_rows(accounts: Iterable[Row]) -> Iterable[Row]:
    for account in accounts:
        attention, unresolved = account["attention"], account["unresolved"]
        for reason in sorted({*attention, *unresolved}):
            yield {
                "account": account["account"],
                "reason": reason,
                "attention": f"{attention.get(reason, 0):,}",
                "unresolved": f"{unresolved.get(reason, 0):,}",
            }
