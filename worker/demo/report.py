"""The demo's texts: what is about to happen, and the result, as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from worker.demo.plan import Fate, Plan
from worker.demo.summary import IDS_PER_QUERY, Finding, Summary
from worker.domain.records.orders import OrderState, Source

_REAL_WINDOW_SECONDS = 60
_SHOWN = 20


def opening(plan: Plan, window: float, *, broker: str, database: str, ends: bool) -> str:
    """What is about to happen. `broker` and `database` are what they are called, without passwords."""
    end = "ends by itself" if ends else "then goes on until Ctrl-C"
    lost, stuck = plan.count(Fate.CALLBACK_LOST, Fate.WRONG_AMOUNT), plan.count(Fate.STUCK)
    return f"""\
Recharge reconciler: the demo. It takes about a minute and {end}.

  {len(plan.orders):,} recharge orders are placed at a simulated platform, and enqueued with a real Celery
  worker as a billing system does it: by task, in lists. For most of them the platform's
  callback comes, over HTTP, to `reconciler serve`. For {lost} it is lost: only a query can find
  their result, {IDS_PER_QUERY} orders in one query, and never two queries within {window:g} s (in real
  life within {_REAL_WINDOW_SECONDS} s).
  {stuck} orders recharge for ever, one is unknown to the platform, and for one more is
  charged than was expected. At the end each order is compared with the platform's truth.

  Broker: {broker}. Database: {database}.
  Platform, receiver, worker and beat: processes of their own. Ctrl-C ends all of them.
"""


def where_to_look(address: str) -> str:
    """Where the console is."""
    return f"""\
  Console: {address}
  The address holds the key of this run: who has it sees all pages, and changes nothing.
"""


def closing(summary: Summary) -> str:
    """The result; a person can check each number."""
    return "\n".join(
        [
            f"Summary, after {summary.seconds:.0f} s" + (" (the time was up)" if summary.timed_out else ""),
            "",
            *_orders(summary),
            "",
            *_cases(summary),
            *_queries(summary),
            "",
            *_limit(summary),
        ]
    )


def what_to_read_next(
    folder: Path, *, database: str, reconciler: str, account: str, example: str, own_database: bool
) -> str:
    """Where a person can read more. `reconciler` is the command by which the demo was called."""
    keep = "the database" if own_database else "the demo's orders, under an account of their own,"
    return f"""\
What to read next
  {keep[0].upper() + keep[1:]} can be read with the same commands as in production:
    export RECONCILER_DATABASE_URL={database}
    {reconciler} orders --summary
    {reconciler} orders --attention any
    {reconciler} order {example} --account {account}
  Logs, and each query as the platform saw it (arrivals.jsonl): {folder}
  The project's README.md shows how to run this beside a billing system. To clean up: rm -r {folder}
"""


def verdict(summary: Summary, folder: Path) -> str:
    """The last line: whether all is well, and otherwise what to do."""
    if summary.is_good:
        return "Result: all is well. No order is wrong, and the platform's limit was kept."
    late = summary.findings.get(Finding.NOT_YET_SETTLED, 0)
    if late and late == len(summary.wrong) and not summary.record.violations:
        return (
            f"Result: not finished. {late} orders were not settled in time, none is wrong. Is this machine busy?"
            " Run the demo again, with fewer --orders."
        )
    return (
        "Result: something is wrong, and should not be. Please look at the orders above with"
        f" `reconciler order`, and report it with the folder {folder}."
    )


def as_json(summary: Summary) -> dict[str, object]:
    """The summary as JSON values."""
    counts = {finding.value: summary.findings.get(finding, 0) for finding in Finding}
    return {
        "good": summary.is_good,
        "orders": summary.orders,
        **counts,
        "states": {state.value: count for state, count in summary.states.items()},
        "settled_by": {source.value: count for source, count in summary.settled_by.items()},
        "wrong_orders": list(summary.wrong),
        "attention": [asdict(case) for case in summary.cases],
        "queries": {**asdict(summary.queries), "least": summary.queries.least},
        "window_seconds": summary.window,
        "smallest_spacing_seconds": summary.record.smallest_spacing,
        "violations": list(summary.record.violations),
        "callbacks": dict(summary.record.callbacks),
        "seconds": round(summary.seconds, 1),
        "timed_out": summary.timed_out,
    }


def _orders(summary: Summary) -> Iterator[str]:
    found = summary.findings
    succeeded, failed = (summary.states.get(state, 0) for state in (OrderState.SUCCEEDED, OrderState.FAILED))
    by_callback, by_query = (summary.settled_by.get(source, 0) for source in (Source.CALLBACK, Source.QUERY))
    yield f"Each of the {summary.orders:,} orders, compared with the platform's truth"
    yield _line(found, Finding.AGREED, f"settled, and the platform agrees: {succeeded} succeeded, {failed} failed")
    yield f"         ({by_callback} by a callback, {by_query} by a query)"
    yield _line(found, Finding.BOTH_PENDING, "still pending, and the platform is still recharging them, too")
    yield _line(found, Finding.GIVEN_UP, "unknown to the platform: unresolved, for a person to decide")
    if found.get(Finding.NOT_YET_GIVEN_UP):
        yield _line(found, Finding.NOT_YET_GIVEN_UP, "unknown to the platform: still pending, as time was too short")
    yield _line(found, Finding.NOT_YET_SETTLED, "settled at the platform, but not yet here (must be 0)")
    yield _line(found, Finding.WRONG, "wrong (must be 0)")
    if summary.wrong:
        yield f"         {', '.join(summary.wrong[:_SHOWN])}{' ...' if len(summary.wrong) > _SHOWN else ''}"


def _line(found: Mapping[Finding, int], finding: Finding, words: str) -> str:
    return f"  {found.get(finding, 0):5d}  {words}"


def _cases(summary: Summary) -> Iterator[str]:
    if not summary.cases:
        return
    yield "For a person to look at"
    for case in summary.cases[:_SHOWN]:
        yield f"  {case.request_id}  {case.state}, {case.reason}: {case.remark}"
    if len(summary.cases) > _SHOWN:
        yield f"  and {len(summary.cases) - _SHOWN} more"
    yield ""


def _queries(summary: Summary) -> Iterator[str]:
    use = summary.queries
    most, first, again = IDS_PER_QUERY, use.first, use.again
    yield f"Queries: {use.used} used; the least possible is {use.least}"
    yield f"  {use.lost_and_settled} orders could be settled by a query only, {most} at most in each: {use.least}."
    yield f"  {first} queries polled orders for the first time. The other {again} polled orders again that"
    yield "  the platform was still recharging or had left out; and, as queries were left over,"
    yield f"  the stuck ones each time. {use.alone} of them polled one order alone."


def _limit(summary: Summary) -> Iterator[str]:
    record = summary.record
    spacing = "none" if record.smallest_spacing is None else f"{record.smallest_spacing:.3f} s"
    yield "The limit, as the platform saw it"
    yield f"  smallest spacing of two queries: {spacing}; the window: {summary.window:g} s"
    kinds = f" ({', '.join(sorted(set(record.violations)))})" if record.violations else ""
    yield f"  violations: {len(record.violations)}{kinds}"
