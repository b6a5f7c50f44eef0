"""Long lists as files: how many rows they have, how many are downloaded at a time, and what is left behind."""

import http.client
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from flask import Response, g
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from tests.integration.test_console_files import NOON
from tests.support.console import READER, console_of
from tests.support.processes import environment, running_serve
from tests.support.reconciling import SID, Workbench
from tests.support.waiting import eventually
from tests.support.xlsx_files import read_xlsx
from worker.database.tables import ORDERS, REJECTED
from worker.views.orders import OrderSearch
from worker.views.page import Page, every_row
from worker.web.console.files import Downloads, ListFile, Row, list_file
from worker.web.console.orders import load_orders

pytestmark = pytest.mark.quick_on("sqlite")

ACTS = """INSERT INTO operator_acts (at, actor, act, account) WITH RECURSIVE numbers(n) AS
(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
SELECT '2016-01-31 10:00:00.000000', 'li', 'pause', 'default' FROM numbers"""


@pytest.fixture
def client(bench: Workbench) -> Iterator[FlaskClient]:
    with console_of(bench.url, READER) as opened:
        yield opened


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def put_long_rows(bench: Workbench, count: int) -> None:
    """Refused input, a million characters each."""
    long = {"source": "a task", "payload": "x" * 1_000_000, "errors": "", "received_at": NOON}
    bench.run(insert(REJECTED), *([long] * count))


def test_one_file_has_all_rows_and_leaves_none_behind(bench: Workbench, client: FlaskClient, temporary: Path) -> None:
    bench.add(*(f"r{number}" for number in range(2_100)))
    answer = client.get("/orders?format=xlsx&state=pending")
    assert os.listdir(temporary) == []
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    (sheet, *_) = read_xlsx(answer.data).values()
    names = [value for row in sheet.rows() for value in row if str(value).startswith("r")]
    assert sorted(names) == sorted(f"r{number}" for number in range(2_100))
    assert len(client.get("/orders?format=csv").text.splitlines()) == 2_101


def test_a_list_that_is_too_long_says_so_and_has_a_csv(bench: Workbench, client: FlaskClient, temporary: Path) -> None:
    put_long_rows(bench, 65)
    page = client.get("/rejected?format=xlsx&from=2016-01-01").text
    assert "more than 100,000 rows, very long ones" in page
    assert 'href="/rejected?format=csv&amp;from=2016-01-01"' in page
    assert 'href="/rejected?from=2016-01-01"' in page
    assert os.listdir(temporary) == []
    answer = client.get("/rejected?format=csv&from=2016-01-01")
    assert not answer.is_sequence
    assert sum(part.count(b"a task") for part in answer.iter_encoded()) == 65


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_an_xlsx_has_up_to_100_000_rows_and_a_csv_any_number(bench: Workbench, client: FlaskClient) -> None:
    bench.run(ACTS, count=100_000)
    assert client.get("/acts?format=xlsx", buffered=True).headers["Content-Disposition"].endswith('"acts.xlsx"')
    bench.run(ACTS, count=1)
    client.set_cookie("language", "zh")
    assert "超过 100,000 行" in client.get("/acts?format=xlsx").text
    assert client.get("/acts?format=csv").text.count("\n") == 100_002


def test_a_third_download_at_a_time_is_put_off_and_one_that_breaks_frees_its_place(
    bench: Workbench, client: FlaskClient, temporary: Path
) -> None:
    bench.add("r1")
    with closing(client.get("/orders?format=csv")) as first, closing(client.get("/orders?format=xlsx")) as second:
        assert [first.status_code, second.status_code] == [200, 200]
        for path in ("/orders?format=xlsx", "/orders?format=csv"):
            third = client.get(path)
            assert (third.status_code, third.headers["Retry-After"]) == (503, "30")
            assert "Only two are downloaded at a time." in third.text
        assert client.get("/orders").status_code == 200
        second.close()
        assert client.head("/orders?format=xlsx", buffered=True).status_code == 200
        assert client.get("/orders?format=xlsx").status_code == 200
    assert os.listdir(temporary) == []


@pytest.mark.databases("sqlite")
def test_a_list_that_cannot_be_read_is_a_page_and_keeps_no_place(
    bench: Workbench, client: FlaskClient, temporary: Path
) -> None:
    bench.run("ALTER TABLE operator_acts RENAME TO elsewhere")
    for _ in range(3):
        for path in ("/acts?format=xlsx", "/acts?format=csv"):
            answer = client.get(path)
            assert (answer.status_code, answer.mimetype) == (503, "text/html")
            assert "The database does not answer" in answer.text
    assert os.listdir(temporary) == []
    bench.run("ALTER TABLE elsewhere RENAME TO operator_acts")
    assert client.get("/acts?format=xlsx").status_code == 200


@pytest.mark.databases("sqlite")
def test_a_file_of_which_a_page_takes_too_long_is_a_page_and_breaks_off_once_rows_are_sent(
    bench: Workbench, client: FlaskClient, temporary: Path
) -> None:
    row = {"id": 1, "detail": "x" * 200_000}
    described, bounds = ListFile(name="acts", columns=["id", "detail"]), list[float | None]()
    downloads = Downloads()

    def load(after: int | None, most: int, seconds: float | None) -> Page[Row]:
        bounds.append(seconds)
        return Page(rows=[], searched=2_000) if after else Page(rows=[row], next_after=1)

    def file_of(form: str, after: int | None) -> Response | str:
        with client.application.test_request_context(f"/acts?format={form}"):
            g.downloads = downloads
            return list_file(described, load, after, {}, ZoneInfo("UTC"))

    for form in ("csv", "xlsx"):
        page = file_of(form, 1)
        assert isinstance(page, str)
        assert "takes too long to read: choose fewer days or another filter" in page
        # A CSV would take as long.
        assert 'href="/acts?format=csv"' not in page
    begun = file_of("csv", None)
    assert isinstance(begun, Response)
    with closing(begun), pytest.raises(Exception, match="1000 rows take more than 15 s"):
        list(begun.iter_encoded())
    assert set(bounds) == {15.0}
    assert os.listdir(temporary) == []
    with ExitStack() as held:
        places = [downloads.take() for _ in range(2)]
        assert [held.enter_context(place) for place in places if place] == places
    downloads.close()


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_all_processes_of_a_server_share_the_places_and_a_client_that_goes_away_frees_its_own(
    bench: Workbench, tmp_path: Path
) -> None:
    put_long_rows(bench, 20)
    env = environment(database_url=bench.url, account_sid=SID)
    with running_serve(env, tmp_path, "--only", "operate", "--workers", "3") as (serve, url), ExitStack() as clients:
        eventually(lambda: "?key=" in serve.output, "the address of the console")
        key = serve.output.partition("?key=")[2].split()[0]

        def download() -> int:
            parts = urlsplit(url)
            connection = clients.enter_context(closing(http.client.HTTPConnection(parts.netloc, timeout=20)))
            connection.request("GET", "/rejected?format=csv", headers={"Cookie": f"key={key}"})
            # Of a file only its head is taken: the rest is more than sockets hold.
            return clients.enter_context(connection.getresponse()).status

        assert [download() for _ in range(6)] == [200, 200, 503, 503, 503, 503]
        clients.close()
        eventually(lambda: download() == 200, "a place is free")


def test_a_list_whose_last_order_is_reopened_does_not_begin_again(bench: Workbench) -> None:
    for number, order in enumerate(bench.add(*(f"r{number}" for number in range(4)))):
        settled = bench.now() - timedelta(minutes=number)
        bench.run(update(ORDERS).where(ORDERS.c.id == order.id).values(state="failed", settled_at=settled))
    wanted = OrderSearch(settled_since=bench.now() - timedelta(days=1))
    listed = every_row(partial(load_orders, bench.database, wanted, ""), at_once=2)
    assert [next(listed)["request_id"], next(listed)["request_id"]] == ["r0", "r1"]
    bench.run(update(ORDERS).where(ORDERS.c.request_id == "r1").values(state="pending", settled_at=None))
    with pytest.raises(RuntimeError, match="the order that the list goes on behind is gone"):
        next(listed)


def test_orders_with_just_the_number_stand_in_a_list_of_several_pages_once(bench: Workbench) -> None:
    for number, name in enumerate(("same", "other", "same1", "same2", "same3")):
        bench.add(name, age_seconds=3600.0 - number)
    bench.run("UPDATE recharge_orders SET account = 'north', request_id = 'same' WHERE request_id = 'other'")
    listed = every_row(partial(load_orders, bench.database, OrderSearch(), "same"), at_once=2)
    assert [row["request_id"] for row in listed] == ["same", "same", "same3", "same2", "same1"]
