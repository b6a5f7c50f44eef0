"""The overview of the console: what it says of a database, in both languages."""

import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.support.console import ANN, READER, console_of
from tests.support.reconciling import Workbench, item
from tests.support.server_process import free_port
from tests.support.ticking import let_a_worker_tick
from tests.support.waiting import eventually
from worker.adapters.log import VERSION
from worker.domain.records.incoming import HttpError


def shown(client: FlaskClient, path: str = "/", language: str = "en") -> str:
    """A part of the overview, once its figures are there."""
    client.set_cookie("language", language)

    def counted() -> str | None:
        answer = client.get(path)
        assert answer.status_code == 200
        return None if "counting" in answer.text else answer.text

    return eventually(counted, "figures on the page") or ""


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    with console_of(bench.url) as opened:
        yield opened


def words_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_an_empty_database_says_that_no_worker_runs(bench: Workbench, client: FlaskClient) -> None:
    page = words_of(shown(client))
    assert page.endswith(f"Version {VERSION}")
    assert "No worker runs on this database" in page


def test_the_accounts_figures_are_shown(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3", "4")
    bench.reconcile([item("1"), item("2", status="7"), item("3", status="-1")])
    page = words_of(shown(client))
    assert re.search(r"default 2 \d", page), page
    assert "2 by platform (query)" in page
    assert "Succeeded: 1. Failed: 1." in page
    assert "Pending now: 2." in page
    assert "Of the last 2 settled orders." in page


def test_more_orders_polled_alone_than_a_day_can_poll_are_named_with_what_to_do(
    bench: Workbench, client: FlaskClient
) -> None:
    bench.add(*(f"r{number}" for number in range(144)), age_seconds=-250)
    bench.run("UPDATE recharge_orders SET lane = 'alone' WHERE request_id <> 'r0'")
    page = words_of(shown(client))
    assert "143 orders wait for a query of their own, and a day has 142 such queries." in page
    assert "raise RECONCILER_CALLBACK_GRACE_SECONDS" in page
    assert "143 笔订单须单独查询" in words_of(shown(client, language="zh"))
    listed = words_of(client.get("/attention?tab=account").text)
    assert "143 orders, 142 polls a day" in listed


def test_messages_that_nobody_takes_in_are_told_with_what_to_look_at(bench: Workbench, client: FlaskClient) -> None:
    let_a_worker_tick(bench, orders_waiting=7)
    page = words_of(shown(client))
    assert "Nothing is taken in" in page
    assert re.search(r"Nothing has been taken in for [\d.]+ (seconds|minutes), and messages wait: 7\.", page)
    assert "Celery's main process" in page.replace("&#39;", "'")
    assert "没有接收任何任务" in words_of(shown(client, language="zh"))


def test_an_account_that_backs_off_can_be_resumed_and_paused(bench: Workbench) -> None:
    bench.add("1")
    bench.write_back.failed(bench.take(), HttpError(502))
    with console_of(bench.url) as client:
        page = shown(client)
    assert "/accounts/resume?account=default" in page
    assert "/accounts/pause?account=default" in page


def test_cancelled_and_unresolved_orders_were_a_part_of_the_backlog(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1", "2", "3", age_seconds=3 * 3600)
    bench.intake.cancel_orders([{"request_id": "3"}])
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = '2'")
    page = shown(client, "/overview/plots")
    # Three while they were pending, none before, one now.
    pending = re.findall(r"<title>\d\d:\d\d: Pending ([\d,]+)</title>", page)
    assert (pending[0], pending[-5], pending[-1]) == ("0", "3", "1")


def test_what_is_wrong_comes_first_with_what_it_means(bench: Workbench, client: FlaskClient) -> None:
    bench.add("1")
    bench.reconcile([item("1", status="7")])
    page = shown(client)
    assert page.index("No order is polled") < page.index("Accounts")
    assert 'href="/attention"' in page


def test_a_part_says_that_the_database_is_away() -> None:
    with console_of(f"postgresql+psycopg://reconciler:sesame@127.0.0.1:{free_port()}/reconciler") as client:
        for path in ("/overview/now", "/overview/plots"):
            page = shown(client, path)
            assert "The database cannot be read at present" in page
            assert "sesame" not in page


def test_only_who_may_act_is_offered_acts(bench: Workbench) -> None:
    bench.add("1")
    for viewer, offered in ((ANN, True), (READER, False)):
        with console_of(bench.url, viewer) as client:
            assert ("/accounts/pause" in shown(client)) is offered
