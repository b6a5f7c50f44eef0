"""Maintenance in the console: pauses that are planned and cancelled, and what every page says of them."""

import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from tests.support.console import READER, console_of, press, said_after
from tests.support.processes import accounts_file, alike_accounts
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from worker.database.tables import ACTS
from worker.domain.records.accounts import AccountState
from worker.operations.act_by_hand import Operator, pause_accounts, resume_account
from worker.views.accounts import read_states
from worker.web.console import maintenance

# Quick tests of the commands run the same statements on PostgreSQL.
pytestmark = pytest.mark.quick_on("sqlite")

PLAN, CANCEL = "/maintenance/plan", "/maintenance/cancel?account=default"
ZONE = ZoneInfo("Asia/Shanghai")
FORM = "%Y-%m-%dT%H:%M"


def in_hours(now: datetime, hours: float) -> datetime:
    return (now + timedelta(hours=hours)).astimezone(ZONE).replace(second=0, microsecond=0)


def plan(client: FlaskClient, now: datetime, begins: float = 2.0, ends: float = 9.0) -> str:
    """What the page says after a pause was planned, which begins and ends these hours after `now`."""
    times: dict[str, Any] = {"from": f"{in_hours(now, begins):{FORM}}", "until": f"{in_hours(now, ends):{FORM}}"}
    return str(said_after(press(client, PLAN, account="*", reason="ticket 77", **times))["said"])


def page_that_says(client: FlaskClient, words: str, path: str = "/orders") -> str:
    """The page, once it says so: what every page says is read apart from it."""
    return eventually(lambda: page if words in (page := client.get(path).text) else "", words)


def test_a_pause_is_planned_is_told_of_on_every_page_and_is_cancelled(bench: Workbench, client: FlaskClient) -> None:
    now = bench.now()
    begins, ends = in_hours(now, 2.0), in_hours(now, 9.0)
    period = f"from {begins:%Y-%m-%d %H:%M:%S} until {ends:%Y-%m-%d %H:%M:%S}"
    assert plan(client, now) == f"Done: default is to be paused {period}."
    (planned,) = bench.state().pauses
    assert (planned.paused_at, planned.paused_until, planned.paused_by) == (begins, ends, "ann")
    assert (planned.pause_reason, planned.is_planned) == ("ticket 77", True)
    (order,) = bench.add("1")
    assert f"A pause of its account is planned {period}." in client.get(f"/orders/{order.id}").text
    page = page_that_says(client, f"Maintenance is planned: default is not polled {period}")
    assert "(ann: ticket 77)" in page
    assert period in client.get("/maintenance").text
    assert period in client.get("/acts").text
    assert "ticket 77" in client.get(CANCEL).text
    assert said_after(press(client, CANCEL))["said"] == "Done: the planned pause of default is cancelled."
    assert bench.state().pauses == ()
    assert [row["act"] for row in bench.rows(ACTS)] == ["pause", "resume"]
    assert "No pause of this account is planned" in client.get(CANCEL).text


def test_while_a_pause_lasts_every_page_says_until_when_who_and_why(bench: Workbench, client: FlaskClient) -> None:
    pause_accounts(bench.database, Operator(name="bob", reason="moved"), ["default"], lasts=timedelta(hours=1))
    page = page_that_says(client, "Maintenance: default is not polled until ", "/acts")
    assert "(bob: moved)" in page
    resumed = client.get("/accounts/resume?account=default").text
    assert "moved" in resumed


def test_a_plan_that_has_begun_holds_at_once_and_ends_no_pause_that_holds(
    bench: Workbench, client: FlaskClient
) -> None:
    (order,) = bench.add("r1")
    now = bench.now()
    plan(client, now, begins=-1.0)
    assert "paused by ann since" in client.get(f"/orders/{order.id}").text
    assert bench.state().pauses[0].paused_at >= now, "queries were sent until then"
    pause_accounts(bench.database, Operator(name="bob", reason="moved"), ["default"])
    plan(client, now, begins=-1.0)
    held = bench.state().pause(in_hours(now, 10.0))
    assert held is not None
    assert (held.paused_by, held.paused_until) == ("bob", None)


def test_the_form_refuses_what_is_no_time_ahead(bench: Workbench, client: FlaskClient) -> None:
    now = bench.now()
    for begins, ends, fault in (
        (9.0, 2.0, "The end is not after the begin."),
        (-9.0, -2.0, "The end has passed."),
        (2.0, 24.0 * 31, "The end is more than 30 days ahead."),
    ):
        times: dict[str, Any] = {"from": f"{in_hours(now, begins):{FORM}}", "until": f"{in_hours(now, ends):{FORM}}"}
        refused = press(client, PLAN, account="default", reason="x", **times)
        assert (refused.status_code, fault in refused.text) == (400, True)
    unreadable: dict[str, Any] = {"from": "tonight", "until": "2016-01-31T06:00Z"}
    unread = press(client, PLAN, **unreadable)
    assert unread.status_code == 400
    assert unread.text.count("Give a date and a time.") == 2
    assert "Choose one." in unread.text
    assert bench.rows(ACTS) == []


def test_several_nights_are_one_list_and_each_is_cancelled_by_itself(bench: Workbench, client: FlaskClient) -> None:
    now = bench.now()
    for hours in (26.0, 2.0):
        plan(client, now, begins=hours, ends=hours + 7.0)
    nights = [f"from {in_hours(now, hours):%Y-%m-%d %H:%M:%S} until " for hours in (2.0, 26.0)]
    page = client.get("/maintenance").text
    listed = page[page.index("<tbody>") :]
    assert -1 < listed.index("not paused") < listed.index(nights[0]) < listed.index(nights[1])
    assert all(night in client.get(PLAN).text for night in nights)
    later = re.findall(r'href="(/maintenance/cancel[^"]+)"', listed)[1].replace("&amp;", "&")
    assert nights[1] in client.get(later).text
    assert said_after(press(client, later))["said"] == "Done: the planned pause of default is cancelled."
    assert [one.paused_at for one in bench.state().pauses] == [in_hours(now, 2.0)]


def test_all_pauses_that_are_on_are_shown_where_they_are_and_where_they_are_ended(
    bench: Workbench, client: FlaskClient
) -> None:
    now = bench.now()
    pause_accounts(bench.database, Operator(name="bob", reason="until fixed"), ["default"])
    begins, ends = now - timedelta(hours=1), now + timedelta(hours=1)
    pause_accounts(bench.database, Operator(name="cas", reason="cable"), ["default"], begins=begins, ends=ends)
    for path in ("/maintenance", "/accounts/resume?account=default", "/accounts/pause?account=default"):
        page = client.get(path).text
        # Above both, every page announces the one that has an end.
        assert page.index("until fixed") < page.rindex("cable"), path


def test_the_nights_of_one_account_hide_no_other_account_and_what_is_cut_is_counted(
    bench: Workbench, tmp_path: Path
) -> None:
    now, names = bench.now(), [f"a{number}" for number in range(7)]
    for number, name in enumerate(names):
        for night in range(6 if number == 0 else 1):
            begins = now + timedelta(hours=1 + number, days=night)
            ends = begins + timedelta(hours=1)
            pause_accounts(bench.database, Operator(name="bob"), [name], begins=begins, ends=ends)
    file = str(accounts_file(tmp_path, alike_accounts(names)))
    with console_of(bench.url, accounts_file=file) as client:
        client.set_cookie("language", "en")
        page = page_that_says(client, "More pauses that are on or planned: 2")
    assert re.findall(r"Maintenance is planned: (a\d) ", page) == names[:5]


def says(client: FlaskClient) -> bool:
    """Whether a page announces Bob's pause."""
    return "(bob: moved)" in client.get("/orders").text


def said_for_two_seconds(clients: Sequence[FlaskClient]) -> list[list[bool]]:
    """What each client's pages say meanwhile, one page after the other."""
    said: list[list[bool]] = [[] for _ in clients]
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        for client, answers in zip(clients, said, strict=True):
            answers.append(says(client))
    return said


def test_all_processes_say_the_same_within_two_seconds_and_none_takes_it_back(
    bench: Workbench, client: FlaskClient
) -> None:
    with console_of(bench.url) as other, console_of(bench.url) as idle:
        assert not any(map(says, (client, other)))
        who = Operator(name="bob", reason="moved")
        pause_accounts(bench.database, who, ["default"], lasts=timedelta(hours=1))
        assert all(answers == sorted(answers) for answers in said_for_two_seconds((client, other)))
        # One of them was asked for nothing yet, as after a restart.
        assert all(says(one) for _ in range(10) for one in (client, other, idle))
        resume_account(bench.database, who, "default")
        every = said_for_two_seconds((client, other, idle))
        assert all(answers == sorted(answers, reverse=True) for answers in every)
        assert not any(says(one) for _ in range(10) for one in (client, other, idle))


def test_while_a_reading_lasts_pages_say_what_was_read_before_it(
    bench: Workbench, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = Operator(name="bob", reason="moved")
    pause_accounts(bench.database, who, ["default"], lasts=timedelta(hours=1))
    assert page_that_says(client, "(bob: moved)")
    begun, ends = Event(), Event()

    def read_long(connection: Connection) -> list[AccountState]:
        begun.set()
        assert ends.wait(30.0)
        return read_states(connection)

    monkeypatch.setattr(maintenance, "read_states", read_long)
    resume_account(bench.database, who, "default")
    assert all(map(all, said_for_two_seconds((client,))))
    assert begun.is_set()
    ends.set()
    (answers,) = said_for_two_seconds((client,))
    assert answers == sorted(answers, reverse=True)
    assert not answers[-1]


def test_who_may_only_read_sees_pauses_and_no_button(bench: Workbench) -> None:
    with console_of(bench.url, READER) as client:
        client.set_cookie("language", "zh")
        page = client.get("/maintenance").text
        assert "静默一个周期（故障切换用）" in page
        assert "/maintenance/plan" not in page
        assert client.get(PLAN).status_code == 403
