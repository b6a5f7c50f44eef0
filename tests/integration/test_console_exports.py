"""Lists as files that the console makes in the background."""

import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, update

from tests.integration.test_console_files import NOON
from tests.support.console import ANN, READER, console_of, hidden_fields
from tests.support.pages import pages_of
from tests.support.reconciling import Workbench
from tests.support.waiting import eventually
from tests.support.xlsx_files import read_xlsx
from worker.database.tables import EXPORTS, ORDERS, REJECTED
from worker.domain.records.exports import KEPT, LOST_AFTER, ExportState
from worker.domain.records.users import Role, Viewer
from worker.operations.write_heartbeat import host_name
from worker.views.orders import OrderSearch
from worker.views.page import every_row
from worker.web.console.exports import LISTS, Exporter
from worker.web.console.files import XLSX_TYPE, Load, Row
from worker.web.console.orders import load_orders

pytestmark = pytest.mark.quick_on("sqlite")

FIVE = "/exports/new/orders?format=xlsx&state=pending"


class Endless(Exporter):
    """Makes files of lists without an end, which somebody has to cancel."""

    def every_row(self, load: Load, after: int | None, at_once: int) -> Iterator[Row]:
        return cycle(list(super().every_row(load, after, at_once)))


class Office:
    """Consoles of several users on one database, with files in one folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self._url = url
        self._opened = ExitStack()

    def console(
        self,
        viewer: Viewer = READER,
        folder: Path | None = None,
        *,
        exporter: type[Exporter] = Exporter,
        rows_of_a_sheet: int = 20,
        language: str = "en",
    ) -> FlaskClient:
        """The console of a process of its own."""
        make = partial(exporter, rows_of_a_sheet=rows_of_a_sheet, beat_seconds=0.05)
        opened = self._opened.enter_context(console_of(self._url, viewer, make, export_folder=folder or self.folder))
        opened.set_cookie("language", language)
        return opened

    def close(self) -> None:
        """Stop all processes."""
        self._opened.close()

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()


@pytest.fixture
def office(bench: Workbench, tmp_path: Path) -> Iterator[Office]:
    opened = Office(bench.url, tmp_path / "exports")
    yield opened
    opened.close()


def begin(client: FlaskClient, path: str = FIVE) -> int:
    """Press the button; returns the status of the answer."""
    return client.post(path, data=hidden_fields(client.get("/finance?from=2016-01-31").text)).status_code


def states(bench: Workbench) -> list[str]:
    return [row["state"] for row in bench.rows(EXPORTS)]


def finished(bench: Workbench) -> str:
    """The id of the one export, once it is done."""
    eventually(lambda: states(bench) == [ExportState.DONE], "the file is ready")
    export_id: str = bench.rows(EXPORTS)[0]["id"]
    return export_id


def put_export(bench: Workbench, export_id: str, user: str, *, ended: timedelta | None = None, slot: int = 0) -> None:
    """An export of another process: one that runs, or has ended so long ago."""
    now = bench.now()
    row = {"id": export_id, "user_name": user, "list_name": "orders", "filters": "", "host": "elsewhere"}
    running = {"slot": slot, "running_user": user, "state": ExportState.RUNNING, "asked_at": now, "seen_at": now}
    done = (
        {}
        if ended is None
        else {"state": ExportState.DONE, "ended_at": now - ended, "slot": None, "running_user": None}
    )
    bench.run(insert(EXPORTS).values(**row, row_count=7, **{**running, **done}))


def test_all_rows_are_in_sheets_of_a_file_that_its_user_alone_may_read(bench: Workbench, office: Office) -> None:
    bench.add(*(f"r{number}" for number in range(50)))
    client = office.console(language="zh")
    assert begin(client) == 303
    export_id = finished(bench)
    page = client.get("/exports").text
    assert [words in page for words in ("已完成", "订单", f'href="/exports/{export_id}"')] == [True] * 3
    answer = client.get(f"/exports/{export_id}", buffered=True)
    assert "filename=orders.xlsx" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    sheets = read_xlsx(answer.data)
    assert list(sheets) == ["订单", "订单 2", "订单 3", "导出说明"]
    assert [len(sheet.rows()) for sheet in list(sheets.values())[:2]] == [21, 21]
    assert dict(sheets["导出说明"].rows())["状态"] == "处理中"
    (path,) = office.folder.iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == (f"{export_id}.xlsx", 0o600)


def test_of_more_rows_than_are_downloaded_at_once_the_whole_is_offered(bench: Workbench, office: Office) -> None:
    long = {"source": "a task", "payload": "x" * 1_000_000, "errors": "", "received_at": NOON}
    bench.run(insert(REJECTED), *([long] * 10))
    client = office.console()
    page = client.get("/rejected?format=xlsx&from=2016-01-01").text
    assert "the file would end after 8." in page
    path = "/exports/new/rejected?format=xlsx&from=2016-01-01"
    assert f'action="{path.replace("&", "&amp;")}"' in page
    assert begin(client, path) == 303
    answer = client.get(f"/exports/{finished(bench)}", buffered=True)
    assert len(read_xlsx(answer.data)["Refused input"].rows()) == 11


def test_of_more_that_needs_a_person_than_is_downloaded_at_once_the_whole_is_offered(
    bench: Workbench, office: Office
) -> None:
    bench.add(*(f"r{number}" for number in range(10_100)))
    bench.run("UPDATE recharge_orders SET attention = 'too_old'")
    bench.intake.enqueue_orders([{"request_id": ""}])
    client = office.console(rows_of_a_sheet=20_000)
    page = client.get("/attention?format=xlsx").text
    # Fewer than 10,000 on a slow machine: the search for them ends after some time.
    assert re.search(r"the file would end after [\d,]+\.", page)
    assert 'action="/exports/new/attention?format=xlsx"' in page
    assert begin(client, "/exports/new/attention?format=xlsx") == 303
    (sheet, *_) = read_xlsx(client.get(f"/exports/{finished(bench)}", buffered=True).data).values()
    names = [row[2] for row in sheet.rows()[1:]]
    assert sorted(names) == sorted([*(f"r{number}" for number in range(10_100)), "1"])


@pytest.mark.parametrize("name", sorted(LISTS))
def test_each_list_is_made(bench: Workbench, office: Office, name: str) -> None:
    client = office.console()
    assert client.get(f"/{name}?format=xlsx").mimetype == XLSX_TYPE
    assert begin(client, f"/exports/new/{name}?format=xlsx") == 303
    answer = client.get(f"/exports/{finished(bench)}", buffered=True)
    assert f"filename={name}.xlsx" in answer.headers["Content-Disposition"]


def test_nothing_is_offered_without_a_folder_or_a_user(bench: Workbench, office: Office) -> None:
    long = {"source": "a task", "payload": "x" * 1_000_000, "errors": "", "received_at": NOON}
    bench.run(insert(REJECTED), *([long] * 10))
    with console_of(bench.url, READER) as client, pages_of(bench.url, export_folder=office.folder) as pages:
        assert begin(client) == 404
        assert pages.client.post(FIVE, base_url="http://localhost:8080").status_code == 403
        for page in (client.get("/rejected?format=xlsx").text, pages.text("/rejected?format=xlsx")):
            assert "choose fewer days" in page
            assert "Make a file of all rows" not in page


def test_another_users_file_is_not_there(bench: Workbench, office: Office) -> None:
    bench.add("r1")
    assert begin(office.console()) == 303
    export_id = finished(bench)
    other = office.console(ANN)
    assert export_id not in other.get("/exports").text
    assert other.get(f"/exports/{export_id}").status_code == 404
    for path in ("/exports/none", f"/exports/../{export_id}.xlsx", f"/exports/{export_id}.xlsx"):
        assert other.get(path).status_code == 404
    assert other.post(f"/exports/{export_id}/cancel", data=hidden_fields(other.get("/exports").text)).status_code == 404


def test_one_at_a_time_for_each_user_and_two_in_all(bench: Workbench, office: Office) -> None:
    put_export(bench, "a" * 32, READER.name or "")
    client = office.console()
    assert begin(client) == 409
    assert begin(office.console(ANN)) == 303
    eventually(lambda: ExportState.DONE in states(bench), "the second one is ready")
    put_export(bench, "b" * 32, "eve", slot=1)
    assert begin(office.console(Viewer(name="joe", role=Role.READ))) == 409


def test_a_process_that_died_leaves_a_row_that_says_so_and_no_file(bench: Workbench, office: Office) -> None:
    put_export(bench, "a" * 32, READER.name or "")
    office.folder.mkdir()
    for name in ("a" * 32 + ".xlsx", "f" * 32 + ".xlsx", "somebody-elses.xlsx"):
        (office.folder / name).touch()
    (office.folder / ("a" * 32 + ".xlsx.parts")).mkdir()
    client = office.console()
    assert "Being made" in client.get("/exports").text
    bench.run(update(EXPORTS).values(seen_at=bench.now() - LOST_AFTER - timedelta(seconds=1)))
    assert "Ended: the program that made it ended." in client.get("/exports").text
    eventually(lambda: office.files() == {"somebody-elses.xlsx"}, "what is no export's any more is deleted")
    assert begin(client) == 303


def test_a_file_is_kept_for_an_hour(bench: Workbench, office: Office) -> None:
    bench.add("r1")
    client = office.console()
    begin(client)
    export_id = finished(bench)
    bench.run(update(EXPORTS).values(ended_at=bench.now() - KEPT - timedelta(seconds=1)))
    assert client.get(f"/exports/{export_id}").status_code == 404
    eventually(lambda: not office.files(), "the file is deleted")
    assert bench.rows(EXPORTS) == []


def test_the_file_of_another_host_is_named_with_it(bench: Workbench, office: Office) -> None:
    put_export(bench, "a" * 32, READER.name or "", ended=timedelta(minutes=5))
    client = office.console()
    assert "The file lies on elsewhere" in client.get("/exports").text
    assert client.get("/exports/" + "a" * 32).status_code == 404


@pytest.mark.parametrize("how", [ExportState.CANCELLED, ExportState.STOPPED])
def test_what_is_cancelled_or_stopped_ends_and_leaves_no_file(
    bench: Workbench, office: Office, how: ExportState
) -> None:
    bench.run(insert(REJECTED).values(source="a task", payload="x" * 100, errors="", received_at=NOON))
    client = office.console(exporter=Endless, rows_of_a_sheet=1_000_000)
    begin(client, "/exports/new/rejected?format=xlsx")
    eventually(office.files, "a file that is being written")
    (export,) = bench.rows(EXPORTS)
    if how is ExportState.STOPPED:
        office.close()
    else:
        form = hidden_fields(client.get("/finance?from=2016-01-31").text)
        assert client.post(f"/exports/{export['id']}/cancel", data=form).status_code == 303
    eventually(lambda: not office.files(), "what was written is deleted")
    (export,) = bench.rows(EXPORTS)
    assert (export["state"], export["slot"], export["running_user"]) == (how, None, None)


def test_a_folder_that_may_not_be_written_is_said(bench: Workbench, office: Office, tmp_path: Path) -> None:
    blocked = tmp_path / "no-folder"
    blocked.write_text("")
    client = office.console(folder=blocked)
    assert begin(client) == 303
    eventually(lambda: states(bench) == [ExportState.NOT_WRITTEN], "the export has failed")
    assert "the file cannot be written" in client.get("/exports").text
    assert bench.rows(EXPORTS)[0]["host"] == host_name()


def test_only_lists_are_made(office: Office) -> None:
    client = office.console()
    for name in ("overview", "act_on_order", "exports", "none"):
        assert begin(client, f"/exports/new/{name}?format=xlsx") == 404


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
