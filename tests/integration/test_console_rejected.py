"""Refused input in the console: one row, or all that a source brought on a day, is dismissed as dealt with."""

import pytest
from flask.testing import FlaskClient

from tests.support.console import press, said_after, send
from tests.support.reconciling import Workbench
from worker.database.tables import ACTS, REJECTED

pytestmark = pytest.mark.quick_on("sqlite")


def refuse(bench: Workbench, *names: str, source: str = "reconciler enqueue") -> None:
    """Have orders refused, because of their phone number."""
    bench.intake.enqueue_orders([{"request_id": name, "mobile": "1"} for name in names], source=source)


def open_rows(bench: Workbench) -> list[int]:
    return [row["id"] for row in bench.rows(REJECTED) if row["is_open"]]


def acts_of(bench: Workbench) -> list[tuple[str, str, str | None, str]]:
    return [(one["actor"], one["act"], one["reason"], one["detail"]) for one in bench.rows(ACTS)]


def test_one_row_is_dismissed_stays_and_leaves_the_list_of_open_ones(bench: Workbench, client: FlaskClient) -> None:
    refuse(bench, "1", "2")
    assert "/rejected/1/dismiss" in client.get("/rejected/1").text
    path = "/rejected/1/dismiss"
    assert "&#34;1&#34;" in client.get(path).text
    assert said_after(press(client, path, reason="a test"))["said"] == "Dismissed: 1."
    assert open_rows(bench) == [2]
    assert acts_of(bench) == [("ann", "dismiss_rejected", "a test", "rejected_orders: 1; 1")]
    shown = client.get("/rejected/1").text
    assert "It was dealt with already." in shown
    assert f'href="{path}"' not in shown
    assert client.get(path).text.count("It was dealt with already.") == 1
    for query, listed in (("", True), ("?open=yes", False)):
        assert ('href="/rejected/1"' in client.get(f"/rejected{query}").text) is listed
    assert "refused input" in client.get("/acts").text.lower()


def test_all_of_a_source_and_day_are_dismissed_in_one_act_and_no_others(bench: Workbench, client: FlaskClient) -> None:
    refuse(bench, "1", "2", "3")
    refuse(bench, "4", source="reconciler.enqueue_orders")
    bench.run("UPDATE rejected_orders SET received_at = '2026-01-30 15:59:59.000000' WHERE id = 3")
    bench.run("UPDATE rejected_orders SET received_at = '2026-01-30 16:00:00.000000' WHERE id IN (1, 2)")
    path = "/rejected/2/dismiss_all"
    page = client.get(path).text
    # In Shanghai the day begins at 16:00 UTC.
    assert "2026-01-31" in page
    assert "<dd>2</dd>" in page
    assert said_after(press(client, path, reason="one bad file"))["said"] == "Dismissed: 2."
    assert open_rows(bench) == [3, 4]
    detail = "rejected_orders: 2; reconciler enqueue, 2026-01-31"
    assert acts_of(bench) == [("ann", "dismiss_rejected", "one bad file", detail)]


def test_what_was_refused_since_the_page_was_shown_is_not_dismissed_by_it(
    bench: Workbench, client: FlaskClient
) -> None:
    refuse(bench, "1", "2")
    path = "/rejected/1/dismiss_all"
    page = client.get(path).text
    # As many as before, and not the same.
    bench.intake.retry_rejected(1, actor="bob")
    bench.run("UPDATE rejected_orders SET is_open = :no WHERE id = 2", no=False)
    refuse(bench, "3")
    answer = send(client, path, page)
    assert answer.status_code == 409
    assert "This has changed meanwhile" in answer.text
    assert open_rows(bench) == [1, 3]
    assert said_after(send(client, path, answer.text))["said"] == "Dismissed: 2."
