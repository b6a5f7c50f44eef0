"""The checker of notifications reads what the product writes, on each database, and what its webhooks bring."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.faults.checker import history
from tests.faults.checker.notifications import check_notifications, collect_notifications
from tests.faults.recorder import SECRET, Recorder
from tests.support.notifying import Told, put_endpoint, told_of
from tests.support.reconciling import Workbench, item
from tests.support.settled_orders import MOBILE, callback
from worker.adapters.clock import HostClock
from worker.adapters.notify.webhook import WebhookTransport
from worker.database.tables import NOTIFICATIONS
from worker.domain.orders import operator_acts as acts
from worker.domain.records.notifications import EventType, Webhook
from worker.domain.records.operators import ActKind
from worker.operations.act_by_hand import Decide, Operator, act_on_orders


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    with Recorder(tmp_path / "recorder") as recorder:
        yield recorder


@pytest.fixture
def told_bench(bench: Workbench) -> Workbench:
    """Orders with results, by queries and callbacks, and some that were taken back, cancelled and dismissed."""
    history.install(bench.url)
    put_endpoint(bench)
    bench.add("r1", "r2", "r3", expected_amount="2.94", mobile=MOBILE)
    bench.enqueue({"custom_parm": "parm-4", "mobile": MOBILE})
    bench.reconcile(
        [
            item("r1", remark="成功 😀" * 500),
            item("r2", amount="30"),
            item("r3", "-1", amount=None, mobile="188****0804"),
        ]
    )
    bench.intake.record_callbacks([callback("r1", status="-1")])
    for kind, decide, name in (
        (ActKind.DISMISS, acts.dismiss, "r1"),
        (ActKind.REOPEN, partial(acts.reopen, force=True), "r2"),
        (ActKind.CANCEL, acts.cancel, "r2"),
    ):
        act(bench, kind, decide, name)
    bench.intake.cancel_orders([{"custom_parm": "parm-4"}])
    return bench


def act(bench: Workbench, kind: ActKind, decide: Decide, name: str) -> None:
    operator = Operator(name="ann", reason="by hand")
    (done,) = act_on_orders(bench.database, operator, kind, [bench.order(name).id], decide)
    assert not done.refusals


def deliver(recorder: Recorder, bench: Workbench, told: list[Told], *, secret: str = SECRET) -> None:
    """Send notifications, and note that they were delivered, whatever the recorder says."""
    transport = WebhookTransport(Webhook(url=recorder.url, secrets=(secret,)), clock=HostClock(), hidden=())
    for one in told:
        transport.deliver(one.row.event_id, one.row.body, datetime.now(UTC))
        chosen = update(NOTIFICATIONS).where(NOTIFICATIONS.c.event_id == one.row.event_id)
        bench.run(chosen.values(state="delivered"))
    transport.close()


def broken(bench: Workbench, recorder: Recorder) -> set[str]:
    """The invariants that the checker finds broken."""
    found = check_notifications(collect_notifications(database_url=bench.url, deliveries=recorder.file))
    return {one.partition(":")[0] for one in found}


def test_what_was_written_and_delivered_is_as_it_should_be(told_bench: Workbench, recorder: Recorder) -> None:
    told = told_of(told_bench)
    assert {one.type for one in told} == {*EventType} - {EventType.UNRESOLVED}
    deliver(recorder, told_bench, [*reversed(told), *told])
    evidence = collect_notifications(database_url=told_bench.url, deliveries=recorder.file)
    assert check_notifications(evidence) == ()
    assert len(evidence.deliveries) == 2 * len(told)


def test_one_with_another_signature_is_found(told_bench: Workbench, recorder: Recorder) -> None:
    deliver(recorder, told_bench, told_of(told_bench))
    deliver(recorder, told_bench, told_of(told_bench, "r1"), secret="whsec_" + 32 * "B")
    assert broken(told_bench, recorder) == {"N5"}
