"""What operators do by hand, as they do it: by the command line; and what is left of it in the database."""

import getpass
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.command_line import SID, TOKEN, CommandLine
from tests.support.notifying import put_endpoint
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import add_newest, add_settled
from worker.database.tables import ACTS, BUDGETS, EVENTS
from worker.domain.records.accounts import Pause
from worker.domain.records.incoming import HttpError, Refused
from worker.domain.records.orders import Attention, Lane, OrderState, Source
from worker.operations.act_by_hand import Operator, resume_account

ANN = ("--by", "ann", "--reason", "ticket 77")
PAUSE = ("pause", "--reason", "x")


def last_event(bench: Workbench, name: str) -> dict[str, Any]:
    return bench.events_of(name)[-1]


def unresolve(bench: Workbench, name: str, ago: timedelta) -> None:
    """An order that became unresolved so long ago."""
    order = bench.order(name)
    then = bench.now() - ago
    bench.run(
        "UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old', updated_at = :then WHERE id = :id",
        then=_stored(bench, then),
        id=order.id,
    )
    bench.run(
        "INSERT INTO order_events (order_id, at, kind, source, from_state, to_state)"
        " VALUES (:id, :then, 'gave_up', 'query', 'pending', 'unresolved')",
        then=_stored(bench, then),
        id=order.id,
    )


def _stored(bench: Workbench, time: datetime) -> object:
    return time if bench.database.kind == "postgresql" else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def log_line(stderr: str) -> str:
    (line,) = (line for line in stderr.splitlines() if "operator_act" in line)
    return line


# ---- resolve


def test_an_order_is_settled_by_hand_and_its_history_says_by_whom_and_why(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", expected_amount="2.94")
    bench.reconcile([item("1", status="7", remark="?")])
    assert bench.order("1").attention is Attention.UNKNOWN_STATUS
    result = cli.run("resolve", "1", "--state", "succeeded", "--amount", "2.94", *ANN)
    assert result.stdout == "1 order is succeeded, 2.94 yuan.\n"
    order = bench.order("1")
    assert (order.state, order.settled_by, order.ori_amount) == (
        OrderState.SUCCEEDED,
        Source.OPERATOR,
        Decimal("2.94"),
    )
    assert (order.attention, order.lease_token) == (None, None)
    assert order.settled_at is not None
    shown = cli.run("order", "1").stdout
    for word in ("settled", "operator", "ann", "pending > succeeded", "was unknown_status: ticket 77"):
        assert word in shown
    event = cli.json("order", "1")["events"][-1]
    assert (event["actor"], event["source"], event["detail"]) == ("ann", "operator", "was unknown_status: ticket 77")


RESOLVE, REOPEN = ("resolve", "1", "--reason", "x", "--state"), ("reopen", "--reason", "x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RESOLVE, "succeeded"), "a succeeded order needs --amount"),
        ((*RESOLVE, "failed", "--amount", "-1"), "'-1' is no amount; accepted: a decimal"),
        (("resolve", "1", "--state", "failed"), "Missing option '--reason'"),
        ((*RESOLVE, "failed", "--reason", " "), "' ' is no reason; accepted: 1 to 1,000 characters"),
        ((*RESOLVE, "failed", "--by", "a" * 65), "is no name; accepted: 1 to 64"),
        ((*RESOLVE, "pending"), "'pending' is not one of 'succeeded', 'failed'"),
        (("resolve", "--state", "failed", "--reason", "x"), "Missing argument 'REF...'"),
        (REOPEN, "name orders, or select them by --unresolved"),
        ((*REOPEN, "1", "--unresolved"), "name orders, or select them by --unresolved"),
        ((*REOPEN, "1", "--since", "1d"), "name orders, or select them by --unresolved"),
        ((*REOPEN, "--unresolved", "--since", "sometime"), "'sometime' is no time; accepted: today or yesterday"),
        (("dismiss",), "name orders, or select them by --attention"),
        (("dismiss", "1", "--attention", "too_old"), "name orders, or select them by --attention"),
        *(
            (("pause", "default", "--reason", "x", f"--for={lasts}"), "is no duration; accepted: an age such as 90m")
            for lasts in ("0h", "2", "two hours", "-1h", "999999w")
        ),
        ((*PAUSE, "--until", "06:00"), "name accounts, or give --all"),
        ((*PAUSE, "default", "--all"), "name accounts, or give --all"),
        ((*PAUSE, "default", "--from", "23:00"), "--from needs --until"),
        ((*PAUSE, "default", "--for", "1h", "--until", "23:00"), "--for is instead of both"),
        ((*PAUSE, "default", "--from", "2h", "--until", "06:00"), "--from '2h' is no time; accepted: a time of day"),
        ((*PAUSE, "default", "--until", "25:00"), "--until '25:00' is no time; accepted: a time of day such as 23:00"),
        ((*PAUSE, "default", "--until", "2016-01-31T06:00"), "The end has passed"),
        ((*PAUSE, "default", "--until", "2100-01-31T06:00"), "The end is more than 30 days ahead"),
        ((*PAUSE, "default", "--from", "2100-02-01", "--until", "2100-01-31"), "The end is not after the begin"),
    ],
)
def test_what_is_used_wrongly_changes_nothing(
    cli: CommandLine, bench: Workbench, arguments: tuple[str, ...], said: str
) -> None:
    bench.add("1")
    assert said in cli.error(*arguments, status=2)
    assert (bench.rows(EVENTS), bench.rows(ACTS)) == ([], [])


@pytest.mark.parametrize("command", [("pause", "nosuch", *ANN), ("resume", "nosuch")])
def test_an_unknown_account_is_refused(cli: CommandLine, bench: Workbench, command: tuple[str, ...]) -> None:
    assert cli.error(*command) == "there is no account nosuch; the settings name: default"


def test_what_is_final_or_unknown_is_refused_and_the_rest_is_done(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", expected_amount="2.94")
    bench.reconcile([item("1", amount="2.94")])
    answer = cli.json("resolve", "1", "2", "3", "--state", "failed", *ANN, status=1)
    assert answer["resolved"] == 1
    refused = {one["ref"]: one["errors"][0] for one in answer["rejected"]}
    assert refused["1"] == "order default:1: is succeeded already; reopen it first"
    assert refused["3"].startswith("there is no order 3")
    assert bench.order("1").settled_by is Source.QUERY
    assert (bench.order("2").settled_by, bench.order("2").ori_amount) == (Source.OPERATOR, None)
    cli.run("reopen", "2", *ANN)
    result = cli.run("resolve", "2", "--state", "succeeded", "--amount", "￥29.40元", *ANN)
    assert "Warning: order default:2: charged 29.40, and 2.94 was expected" in result.stderr


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("state", "amount"), [("succeeded", "2.94"), ("failed", "0.5")])
def test_the_amount_of_several_orders_is_no_sum_of_them(
    cli: CommandLine, bench: Workbench, state: str, amount: str
) -> None:
    bench.add("1", "2", "3")
    shown = f"{float(amount):.2f}"
    resolve = ("--state", state, "--amount", amount, *ANN)
    assert cli.run("resolve", "1", *resolve).stdout == f"1 order is {state}, {shown} yuan.\n"
    assert cli.run("resolve", "2", "3", *resolve).stdout == f"2 orders are {state}, {shown} yuan each.\n"


def test_a_refusal_names_its_order_once(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", custom_parm="A-1", mobile="18812340804")
    for ref, said in (
        ("1", "Refused: 1: has no attention to dismiss\n"),
        ("A-1", "Refused: A-1: order default:1: has no attention to dismiss\n"),
    ):
        assert cli.run("dismiss", ref, status=1).stderr == said
    assert cli.run("resend", "1", status=1).stderr.splitlines()[-1].startswith("Refused: 1: ")
    assert "order default:1:" not in cli.run("resend", "1", status=1).stderr


def test_without_a_name_it_is_the_systems_user(
    cli: CommandLine, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add("1", "2")
    cli.run("cancel", "1")
    assert last_event(bench, "1")["actor"] == getpass.getuser()
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, " " if variable == "LOGNAME" else "")
    assert cli.error("cancel", "2", status=2) == "the system's user has no name here: give --by NAME"


def test_a_dry_run_changes_nothing_and_says_what_would_be(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, "old")
    add_newest(bench)
    events = bench.rows(EVENTS)
    result = cli.run("reopen", "r-old", "--force", "--dry-run", *ANN)
    assert result.stdout == "Nothing was changed. Without --dry-run: 1 order is pending again.\n"
    assert "operator_act" not in result.stderr
    assert cli.json("dismiss", "newest", "--dry-run", status=1)["dry_run"] is True
    assert cli.json("pause", "default", "--dry-run", *ANN)["dry_run"] is True
    assert cli.json("hold", "--dry-run")["dry_run"] is True
    assert (bench.rows(EVENTS), bench.rows(ACTS), bench.state().pauses) == (events, [], ())
    cli.run("pause", "default", *ANN)
    assert cli.run("resume", "default", "--dry-run").stdout.startswith("Nothing was changed. Without")
    assert len(bench.state().pauses) == 1


# ---- reopen


def test_what_the_platform_settled_is_reopened_by_force_only(cli: CommandLine, bench: Workbench) -> None:
    add_settled(bench, "old")
    add_newest(bench)
    said = cli.run("reopen", "r-old", *ANN, status=1).stderr
    assert "was settled by a callback; ask the platform first, then reopen it by force" in said
    before = {row["id"] for row in bench.rows(EVENTS)}
    cli.run("reopen", "c-old", "--force", *ANN)
    order = bench.order("r-old")
    assert (order.state, order.ori_amount, order.settled_by, order.settled_at, order.remark) == (
        OrderState.PENDING,
        *(None, None, None, None),
    )
    added = [row["kind"].value for row in bench.rows(EVENTS) if row["id"] not in before]
    assert added[-1] == "reopened"
    assert last_event(bench, "r-old")["detail"] == "was succeeded, by callback, charged 2.94: ticket 77"


def test_what_a_filter_selects_is_counted_and_needs_a_yes_without_a_terminal(
    cli: CommandLine, bench: Workbench
) -> None:
    bench.add("old", "young", "younger", "pending")
    unresolve(bench, "old", timedelta(days=3))
    unresolve(bench, "young", timedelta(hours=5))
    unresolve(bench, "younger", timedelta(hours=1))
    result = cli.run("reopen", "--unresolved", "--since", "1d", *ANN, status=2)
    assert result.stderr.startswith("2 orders are unresolved since ")
    assert "add --yes" in result.stderr
    assert bench.order("young").state is OrderState.UNRESOLVED
    dry = cli.json("reopen", "--unresolved", "--dry-run", *ANN)
    assert dry == {"reopened": 3, "rejected": [], "dry_run": True}
    assert cli.run("reopen", "--unresolved", "--since", "1d", "--yes", *ANN).stdout == "2 orders are pending again.\n"
    assert {order.request_id for order in bench.orders() if order.state is OrderState.UNRESOLVED} == {"old"}
    # What has been changed since counts by when it became unresolved.
    bench.run("UPDATE recharge_orders SET updated_at = :now WHERE request_id = 'old'", now=_stored(bench, bench.now()))
    assert cli.json("reopen", "--unresolved", "--since", "1d", "--yes", *ANN) == {"reopened": 0, "rejected": []}
    assert cli.json("reopen", "--unresolved", "--since", "4d", "--yes", *ANN)["reopened"] == 1


@pytest.mark.slow
@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("answer", "status", "state"), [("y", 0, "pending"), ("n", 1, "unresolved")])
def test_at_a_terminal_a_person_is_asked(
    cli: CommandLine, bench: Workbench, answer: str, status: int, state: str
) -> None:
    bench.add("1")
    unresolve(bench, "1", timedelta(hours=1))
    ended = cli.answered("reopen", "--unresolved", *ANN, answer=answer, status=status)
    assert "1 order is unresolved.\nReopen them all? [y/N]: " in ended.stderr
    assert bench.order("1").state.value == state
    assert ended.stdout == ("1 order is pending again.\n" if answer == "y" else "")
    assert ("Error: nothing was changed" in ended.stderr) is (answer == "n")


def test_a_time_without_an_offset_is_in_the_time_zone_of_people(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    unresolve(bench, "1", timedelta(hours=4))
    now = bench.now()
    three_hours_ago = f"{now - timedelta(hours=3):%Y-%m-%dT%H:%M}"
    command = ("reopen", "--unresolved", "--dry-run", *ANN, "--since")
    assert cli.json(*command, f"{three_hours_ago}+00:00")["reopened"] == 0
    # In Shanghai it was this time eight hours earlier.
    assert cli.json(*command, three_hours_ago)["reopened"] == 1


def test_no_order_of_an_account_outside_the_settings_is_reopened(cli: CommandLine, bench: Workbench) -> None:
    (order,) = bench.add("1")
    bench.run("UPDATE recharge_orders SET account = 'gone', state = 'unresolved'")
    said = cli.run("reopen", f"id:{order.id}", *ANN, status=1).stderr
    assert "its account gone is not in the settings, so no worker polls it" in said
    assert cli.json("reopen", "--unresolved", "--yes", *ANN)["reopened"] == 0


# ---- cancel, dismiss, check


def test_orders_are_cancelled_and_dismissed_and_checked_by_name(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", "3")
    bench.reconcile([item("2", status="7")])
    assert cli.run("cancel", "1", *ANN).stdout == "1 order is cancelled.\n"
    assert cli.run("dismiss", "2", "--by", "ann").stdout == "1 order needs no person any more.\n"
    assert cli.run("check", "3", "--by", "ann").stdout == "1 order will be polled next.\n"
    assert bench.order("1").state is OrderState.CANCELLED
    assert bench.order("2").attention is None
    assert bench.order("3").check_requested_at is not None
    for name, kind, detail in (
        ("1", "cancelled", "ticket 77"),
        ("2", "dismissed", "unknown_status"),
        ("3", "check_requested", None),
    ):
        event = last_event(bench, name)
        assert (event["kind"].value, event["source"], event["actor"]) == (kind, Source.OPERATOR, "ann")
        assert event["detail"] == detail
    assert "has no attention to dismiss" in cli.run("dismiss", "2", status=1).stderr
    bench.run("UPDATE recharge_orders SET state = 'unresolved', attention = 'too_old' WHERE request_id = '2'")
    for named in (("2",), ("--attention", "too_old", "--yes")):
        assert "is unresolved and needs a person" in cli.run("dismiss", *named, "--by", "ann", status=1).stderr
    assert bench.order("2").attention is Attention.TOO_OLD


def test_thousands_of_orders_are_reopened_a_thousand_in_a_transaction(cli: CommandLine, bench: Workbench) -> None:
    bench.add(*(f"r{number}" for number in range(2_500)))
    now = bench.now()
    bench.run("UPDATE recharge_orders SET state = 'unresolved', updated_at = :now", now=_stored(bench, now))
    assert cli.json("reopen", "--unresolved", "--yes", *ANN)["reopened"] == 2_500
    assert all(order.state is OrderState.PENDING for order in bench.orders())
    assert [row["detail"].split(":")[0] for row in bench.rows(ACTS)] == ["1000 orders", "1000 orders", "500 orders"]
    assert cli.json("cancel", "r7", *ANN)["cancelled"] == 1
    cancelled, reopened = cli.json("acts")
    assert (reopened["orders"], reopened["detail"]) == (2_500, "2500 orders")
    assert (cancelled["orders"], cancelled["detail"]) == (1, "1 order: r7")
    assert {row["act_key"] for row in bench.rows(ACTS)[:3]} == {reopened["act_key"]}


def test_all_orders_with_a_reason_are_dismissed_once_their_number_was_shown(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2", "3", "4")
    bench.run("UPDATE recharge_orders SET attention = 'too_old' WHERE request_id <> '4'")
    bench.run("UPDATE recharge_orders SET attention = 'late_conflict' WHERE request_id = '4'")
    bench.run("UPDATE recharge_orders SET account = 'removed' WHERE request_id = '3'")
    of_default = ("dismiss", "--attention", "too_old", "--account", "default", *ANN)
    asked = cli.run(*of_default, status=2).stderr
    assert "2 orders are shown for too_old." in asked
    assert "add --yes" in asked
    assert cli.json(*of_default, "--dry-run") == {"dismissed": 2, "rejected": [], "dry_run": True}
    assert cli.run(*of_default, "--yes").stdout == "2 orders need no person any more.\n"
    assert cli.json("dismiss", "--attention", "too_old", "--yes", *ANN)["dismissed"] == 1
    assert cli.json("dismiss", "--attention", "too_old", "--yes", *ANN)["dismissed"] == 0
    assert [order.attention for order in bench.orders()] == [None, None, None, Attention.LATE_CONFLICT]
    assert [(row["act"], row["account"], row["detail"]) for row in bench.rows(ACTS)] == [
        ("dismiss", "default", "2 orders: 1, 2"),
        ("dismiss", "removed", "1 order: 3"),
    ]
    assert last_event(bench, "1")["detail"] == "too_old: ticket 77"


# ---- pause, resume, hold


def test_an_account_is_paused_for_a_while_and_status_says_by_whom_and_why(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    paused = cli.json("pause", "default", "--for", "2h", *ANN)
    length = datetime.fromisoformat(paused["paused_until"]) - datetime.fromisoformat(paused["paused_at"])
    assert (length, paused["replaced"], paused["paused_by"]) == (timedelta(hours=2), False, "ann")
    ends = datetime.fromisoformat(paused["paused_until"])
    assert f"until {ends.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M:%S}+08" in cli.run("acts").stdout
    assert bench.grants.take(bench.slot) is None
    assert "paused by ann since" in cli.run("status").stdout
    account = cli.json("status")["accounts"][0]
    assert (account["paused_until"], account["pause_reason"]) == (paused["paused_until"], "ticket 77")
    again = cli.run("pause", "default", "--reason", "longer", "--by", "bob").stdout
    assert again == "default is paused until it is resumed, which replaces its earlier pause.\n"
    assert [one.paused_until for one in bench.state().pauses] == [None]
    assert cli.run("resume", "default", "--by", "cas").stdout == "default is polled again; it was paused by bob.\n"
    assert bench.take().ids == ("1",)
    over = datetime(2016, 1, 31, 10, tzinfo=UTC)
    bench.put_pauses(Pause(paused_at=over - timedelta(hours=1), paused_until=over))
    assert "paused" not in cli.run("status").stdout, "a pause that has ended is none"
    nothing = "default is not paused and does not back off: nothing to resume.\n"
    assert cli.run("resume", "default").stdout == nothing
    assert [row["act"] for row in bench.rows(ACTS)] == ["pause", "pause", "resume"]


def statuses(cli: CommandLine) -> list[dict[str, Any]]:
    """What `status` says of each account."""
    return list(cli.json("status")["accounts"])


def test_a_pause_is_planned_for_several_accounts_in_one_act_and_cancelled(
    cli: CommandLine, bench: Workbench, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(f'[other]\naccount_sid = "{SID}"\nauth_token = "{TOKEN}"\napp_id = "app-2"\n')
    file.chmod(0o600)
    cli = CommandLine({**cli.settings, "RECONCILER_ACCOUNTS_FILE": str(file)})
    zone = ZoneInfo("Asia/Shanghai")
    begins = (bench.now().astimezone(zone) + timedelta(hours=2)).replace(second=0, microsecond=0)
    ends = begins + timedelta(hours=7)
    hours = ("--from", f"{begins:%H:%M}", "--until", f"{ends:%H:%M}")
    said = cli.run("pause", "--all", *hours, *ANN).stdout
    words = f"is to be paused from {begins:%Y-%m-%d %H:%M:%S}+08 until {ends:%Y-%m-%d %H:%M:%S}+08"
    assert said == f"default {words}.\nother {words}.\n"
    (act,) = cli.json("acts")
    assert (act["act"], act["account"], act["actor"], act["reason"]) == ("pause", "default, other", "ann", "ticket 77")
    assert f"from {begins:%Y-%m-%d %H:%M:%S}+08 until {ends:%Y-%m-%d %H:%M:%S}+08" in cli.run("acts").stdout
    shown = cli.run("status").stdout
    assert "Planned pauses" in shown
    assert "paused by ann" not in shown, "nothing is paused yet"
    next_night = [(one + timedelta(days=1)).isoformat() for one in (begins, ends)]
    again = cli.json("pause", "other", "--from", next_night[0], "--until", next_night[1], "--reason", "longer")
    assert (again["replaced"], again["paused_at"], again["planned_reason"]) == (False, None, "longer")
    assert datetime.fromisoformat(again["planned_from"]) == begins + timedelta(days=1)
    reasons = {one["account"]: [plan["planned_reason"] for plan in one["planned_pauses"]] for one in statuses(cli)}
    assert reasons == {"default": ["ticket 77"], "other": ["ticket 77", "longer"]}, "it stands beside the first"
    assert "longer" in cli.run("status").stdout
    listed = cli.json("pause", "default", "other", "--until", f"{ends.isoformat()}", *ANN)["accounts"]
    assert [(one["account"], datetime.fromisoformat(one["paused_until"])) for one in listed] == [
        ("default", ends),
        ("other", ends),
    ]
    assert cli.run("resume", "other").stdout.startswith("other is polled again")
    planned = {one["account"]: one["planned_from"] for one in statuses(cli)}
    assert {datetime.fromisoformat(one) for one in planned.values()} == {begins}, "a resume leaves what is planned"
    said = cli.run("resume", "other", "--planned", "--by", "bob").stdout
    assert said.splitlines() == [
        f"other is not to be paused from {one:%Y-%m-%d %H:%M:%S}+08 any more."
        for one in (begins, begins + timedelta(days=1))
    ]
    assert cli.json("acts")[0]["detail"].startswith("cancelled 2 planned pauses, the first from ")
    assert cli.run("resume", "other", "--planned").stdout == "No pause of other is planned: nothing to cancel.\n"
    assert cli.json("resume", "default", "--planned", "--dry-run")["cancelled"] is True
    assert [one.paused_at for one in bench.state().planned_pauses(bench.now())] == [begins]
    cli.run("resume", "default", "--planned", "--by", "bob")
    assert cli.json("acts")[0]["detail"].startswith("cancelled the planned pause from ")


def test_a_begin_that_has_passed_counts_as_now(cli: CommandLine, bench: Workbench) -> None:
    now = bench.now()
    period = ("--from", (now - timedelta(hours=3)).isoformat(), "--until", (now + timedelta(hours=4)).isoformat())
    said = cli.json("pause", "default", *period, *ANN)
    assert datetime.fromisoformat(said["paused_at"]) >= now, "queries were sent until then"
    assert (said["planned_from"], said["planned_pauses"]) == (None, [])


def test_a_resume_ends_a_back_off_and_the_next_query_waits_for_its_slot(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1", "2")
    for _ in range(3):
        bench.write_back.failed(bench.take(), HttpError(502))
        bench.put_state(replace(bench.state(), backoff_until=None))
        bench.clock.advance(bench.rules.reservation_seconds)
    bench.write_back.failed(bench.take(), HttpError(502))
    slot, state = bench.rows(BUDGETS), bench.state()
    assert state.backoff_until is not None
    dry = cli.json("resume", "default", "--dry-run")
    assert (dry["resumed"], dry["dry_run"], bench.state()) == (True, True, state)
    said = cli.run("resume", "default", *ANN).stdout
    ends = state.backoff_until.astimezone(ZoneInfo("Asia/Shanghai"))
    assert said == f"default is polled again; it backed off until {ends:%Y-%m-%d %H:%M:%S}+08.\n"
    (act,) = bench.rows(ACTS)
    ended = f"ended a back-off until {state.backoff_until.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    assert (act["act"], act["actor"], act["reason"], act["detail"]) == ("resume", "ann", "ticket 77", ended)
    assert bench.rows(BUDGETS) == slot
    assert bench.grants.take(bench.slot) is None
    bench.clock.advance(bench.rules.reservation_seconds)
    bench.write_back.failed(bench.take(), HttpError(502))
    # The row of failures was not forgotten.
    assert bench.state().backoff_seconds > state.backoff_seconds


def test_after_a_resume_from_a_configuration_error_one_order_is_polled_first(
    cli: CommandLine, bench: Workbench
) -> None:
    bench.add("1", "2", "3")
    bench.write_back.failed(bench.take(), Refused("-205", "应用验证失败"))
    assert cli.json("resume", "default", *ANN)["resumed"] is True
    bench.clock.advance(bench.rules.spacing_seconds)
    bench.make_due()
    assert len(bench.reconcile([item("1")]).ids) == 1
    assert len(bench.take().ids) == 2


def test_a_resume_ends_no_back_off_that_the_platform_asked_for(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(503, retry_after=600.0))
    before = bench.state()
    assert before.backoff_until is not None
    shown = f"{before.backoff_until.astimezone(ZoneInfo('Asia/Shanghai')):%Y-%m-%d %H:%M:%S}+08"
    asked = f"The platform asked to wait until {shown}: no operator can end that.\n"
    assert cli.run("resume", "default", *ANN).stdout == f"default is not paused. {asked}"
    answer = cli.json("resume", "default", *ANN)
    assert (answer["resumed"], datetime.fromisoformat(answer["backs_off_until"])) == (False, before.backoff_until)
    assert (bench.state(), bench.rows(ACTS)) == (before, [])
    cli.run("pause", "default", *ANN)
    assert cli.run("resume", "default").stdout == f"default is resumed: it was paused by ann. {asked}"
    assert bench.state() == before


def test_a_resume_shortens_a_back_off_to_what_the_platform_asked_for(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(503, retry_after=30.0))
    before = bench.state()
    assert before.backoff_until is not None
    assert before.backoff_requested_until is not None
    said = cli.run("resume", "default", *ANN).stdout
    assert said.startswith("default is resumed: it backed off until ")
    assert "The platform asked to wait until" in said
    assert bench.state().backoff_until == before.backoff_requested_until < before.backoff_until
    assert "; the platform asked to wait until " in bench.rows(ACTS)[0]["detail"]


@pytest.mark.workbench(app_ids={"a": "app-1", "b": "app-2"})
def test_too_frequent_holds_every_account_of_the_sid_and_no_resume_ends_that(bench: Workbench) -> None:
    bench.add("x", account="a")
    bench.add("y", account="b")
    bench.write_back.failed(bench.take(), Refused("-9", "查询过于频繁"))
    for account in ("a", "b"):
        resumed = resume_account(bench.database, Operator(name="ann"), account)
        assert not resumed.is_resumed
        assert resumed.waits_until == bench.state(account).backoff_until is not None
    assert bench.order("x").lane is Lane.BATCH
    bench.clock.advance(bench.rules.reservation_seconds)
    assert bench.grants.take(bench.slot) is None


def test_held_slots_carry_no_query_for_a_full_reservation(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    cli = CommandLine({**cli.settings, "RECONCILER_ACCOUNT_SID": bench.slot.account_sid})
    (slot,) = cli.json("hold", *ANN)["slots"]
    assert (slot["accounts"], slot["slot"], slot["wait_seconds"]) == (["default"], 0, 90.5)
    assert bench.grants.take(bench.slot) is None
    (act,) = bench.rows(ACTS)
    assert (act["act"], act["account"], act["actor"], act["reason"]) == ("hold", None, "ann", "ticket 77")
    assert cli.run("hold").stdout.startswith("1 slot held: no query before ")


def test_without_a_slot_there_is_nothing_to_hold(cli: CommandLine) -> None:
    assert cli.run("hold").stdout.startswith("No slot has a row yet")
    assert cli.json("acts") == []


# ---- what is seen of it


def test_acts_are_listed_newest_first_with_the_names_of_the_orders(cli: CommandLine, bench: Workbench) -> None:
    assert cli.run("acts").stdout == "No operator has acted yet.\n"
    bench.add("1", "2")
    cli.run("cancel", "1", "2", *ANN)
    cli.run("pause", "default", "--by", "=bob", "--reason", "-1+1")
    pause, cancel = cli.json("acts")
    assert (cancel["actor"], cancel["act"], cancel["account"]) == ("ann", "cancel", "default")
    assert (cancel["detail"], cancel["reason"]) == ("2 orders: 1, 2", "ticket 77")
    assert (pause["actor"], pause["act"], pause["detail"]) == ("=bob", "pause", "until it is resumed")
    shown = cli.run("acts").stdout
    assert shown.index("pause") < shown.index("2 orders: 1, 2")
    assert [act["act"] for act in cli.json("acts", "--limit", "1")] == ["pause"]
    bench.run("UPDATE operator_acts SET account = 'other' WHERE act = 'pause'")
    assert [act["act"] for act in cli.json("acts", "--account", "default")] == ["cancel"]
    bench.run("UPDATE operator_acts SET account = NULL WHERE act = 'pause'")
    assert [act["act"] for act in cli.json("acts", "--account", "default")] == ["pause", "cancel"]
    assert [act["act"] for act in cli.json("acts", "--account", "default", "--limit", "1")] == ["pause"]
    lines = cli.run("acts", "--csv").stdout.splitlines()
    assert lines[0] == "\ufeffid,at,actor,act,account,detail,reason,orders,act_key"
    assert "'=bob" in lines[1]
    assert "'-1+1" in lines[1]
    assert [act["act"] for act in cli.json("acts", "--actor", "ann", "--since", "1h")] == ["cancel"]
    assert [act["act"] for act in cli.json("acts", "--act", "pause")] == ["pause"]
    assert "give either --json or --csv" in cli.error("acts", "--csv", "--json", status=2)
    # An act without detail or reason leaves no blank line where these stand below their row.
    cli.run("resume", "default", "--by", "bob")
    assert "\n\n" not in cli.run("acts", width=60).stdout.rstrip("\n")


def test_each_act_is_logged_in_a_line(cli: CommandLine, bench: Workbench) -> None:
    cli = CommandLine({**cli.settings, "RECONCILER_LOG_FORMAT": "json"})
    bench.add("1", "2")
    logged = json.loads(log_line(cli.run("cancel", "1", "2", "3", *ANN, status=1).stderr))
    expected = {"action": "operator_act", "act": "cancel", "actor": "ann", "reason": "ticket 77", "orders": 2}
    assert {name: logged[name] for name in expected} == expected
    logged = json.loads(log_line(cli.run("pause", "default", *ANN).stderr))
    assert (logged["act"], logged["account"]) == ("pause", "default")
    assert json.loads(log_line(cli.run("resume", "default").stderr))["act"] == "resume"
    assert json.loads(log_line(cli.run("hold").stderr))["act"] == "hold"
    assert "operator_act" not in cli.run("cancel", "1", status=1).stderr


@pytest.mark.databases("sqlite")
def test_the_result_of_an_act_is_all_that_it_prints_on_standard_output(cli: CommandLine, bench: Workbench) -> None:
    cli = CommandLine({**cli.settings, "RECONCILER_ACCOUNT_SID": bench.slot.account_sid})
    put_endpoint(bench)
    bench.add("1", "2", expected_amount="1")
    bench.reconcile([item("2")])
    bench.intake.enqueue_orders([{"request_id": ""}])
    for command in (
        ("check", "1"),
        ("cancel", "1"),
        ("resolve", "1", "--state", "failed", "--reason", "x"),
        ("reopen", "1", "--reason", "x"),
        ("dismiss", "--attention", "amount_mismatch", "--yes"),
        ("pause", "default", "--reason", "x"),
        ("resume", "default"),
        ("hold",),
        ("resend", "2"),
        ("notifications", "pause", "default"),
        ("notifications", "resume", "default"),
        ("notifications", "forget", "default", "--yes"),
    ):
        ended = cli.run(*command, "--by", "ann")
        assert ended.stdout.count("\n") == 1, command
        assert ended.stdout.endswith(".\n"), command
        logged = datetime.fromisoformat(log_line(ended.stderr).split()[0])
        assert logged.utcoffset() == timedelta(hours=8), command
