"""Faults of the simulated platform, its callbacks and its control endpoint, over real sockets."""

import http.client
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw_query import APP_ID, SID, TOKEN, RawQuery, exchange, read_control, write_control
from tests.support.receiver import Answering, Delivered, Receiver
from tests.support.waiting import eventually
from worker.simulator.callbacks import http_push
from worker.simulator.faults import Faults
from worker.simulator.orders import Delay, NewOrder
from worker.simulator.platform import SimulatorConfig
from worker.simulator.protocol import Account
from worker.simulator.server import Simulator, control

ACCOUNT = Account(sid=SID, auth_token=TOKEN, app_id=APP_ID)
OTHER = Account(sid="other", auth_token="t2", app_id="a2")
QUERY_OTHER = RawQuery(sid="other", token="t2", app_id="a2")


def config(**options: Any) -> SimulatorConfig:
    defaults: dict[str, Any] = {"accounts": (ACCOUNT,), "queries_per_window": 1000, "adopt": True}
    return SimulatorConfig(**defaults | {"delay": Delay.parse("0"), "failed_share": 0.0} | options)


@pytest.fixture
def troubled() -> Iterator[Callable[..., Simulator]]:
    with ExitStack() as running:

        def start(shares: dict[str, float] | None = None, **options: Any) -> Simulator:
            troubles = Faults(shares=shares or {}, **options)
            return running.enter_context(Simulator(config(faults=troubles, accounts=(ACCOUNT, OTHER))))

        yield start


Troubled = Callable[..., Simulator]


def test_a_redirect_points_back_at_the_query(troubled: Troubled) -> None:
    answered = RawQuery().send(troubled({"http-307": 1}).url)
    assert answered.headers["Location"].startswith(f"/201512/sid/{SID}/traffic/Traffic.wx?Sign=")


def test_a_refusal_has_the_code_that_was_chosen(troubled: Troubled) -> None:
    simulator = troubled({"refuse": 1}, refuse_code="-205", refuse_message="应用验证失败")
    assert RawQuery().send(simulator.url).json == {"statusCode": "-205", "statusMsg": "应用验证失败", "requestId": ""}
    (arrival,) = simulator.record.arrivals()
    assert (arrival.outcome, arrival.detail, arrival.status_code) == ("fault", "refuse", "-205")


def test_latency_delays_the_answer_and_not_the_arrival(troubled: Troubled) -> None:
    simulator = troubled(latency=Delay.parse("alternate:0.3,600"))
    RawQuery().send(simulator.url)
    (first,) = simulator.record.arrivals()
    assert time.monotonic() - first.monotonic >= 0.3
    with pytest.raises(TimeoutError):
        RawQuery().send(simulator.url, timeout=0.3)
    eventually(lambda: len(simulator.record.arrivals()) == 2, "the second arrival")


def items_of(simulator: Simulator) -> list[dict[str, str]]:
    items: list[dict[str, str]] = RawQuery(ids="5,6").send(simulator.url).json
    return sorted((item for item in items), key=lambda item: item["requestId"])


def test_the_record_names_the_items_that_were_spoilt(troubled: Troubled) -> None:
    simulator = troubled({"wrong-amount": 1}, queries=1)
    items_of(simulator)
    items_of(simulator)
    spoilt, clean = simulator.record.arrivals()
    assert spoilt.spoiled == (("5", "wrong-amount"), ("6", "wrong-amount"))
    assert clean.spoiled == ()


def test_an_id_may_spoil_every_batch_it_is_in(troubled: Troubled) -> None:
    five = frozenset({"5"})
    refusing, failing = troubled(poison_ids=five), troubled(poison_ids=five, poison_effect="http-500")
    assert RawQuery(ids="5,6").send(refusing.url).code == "-9999"
    assert RawQuery(ids="6").send(refusing.url).json["requestId"] == "6"
    assert RawQuery(ids="5,6").send(failing.url).status == 500


def test_faults_end_after_the_set_number_of_queries_and_may_affect_one_account_only(troubled: Troubled) -> None:
    url = troubled({"http-500": 1}, queries=2, sids=frozenset({SID})).url
    queries = (RawQuery(), QUERY_OTHER, RawQuery(), RawQuery())
    assert [query.send(url).status for query in queries] == [500, 200, 500, 200]


def test_a_platform_that_hangs_can_be_stopped_at_once(troubled: Troubled) -> None:
    simulator = troubled(latency=Delay.parse("60"))

    def query() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            RawQuery().send(simulator.url)

    caller = threading.Thread(target=query)
    caller.start()
    while not simulator.record.arrivals():
        time.sleep(0.01)
    simulator.stop()
    caller.join(10)
    assert not caller.is_alive()


def test_orders_and_faults_are_set_while_it_runs(troubled: Troubled) -> None:
    url = troubled().url
    orders = [{"request_id": str(n), "app_id": APP_ID, "mobile": "18812340804", "outcome": "-1"} for n in range(3000)]
    registered = write_control(url, "orders", {"orders": orders}).json
    assert (registered["registered"], registered["request_ids"][:2]) == (3000, ["0", "1"])
    assert RawQuery(ids="7").send(url).json["trafficSts"] == "-1"
    assert write_control(url, "faults", {"shares": {"http-503": 1}, "retry_after": 2, "latency": "0.01"}).status == 200
    assert RawQuery(ids="7").send(url).status == 503
    assert write_control(url, "faults", {}).status == 200
    assert RawQuery(ids="7").send(url).status == 200
    assert len(read_control(url, "truth")["orders"]) == 3000
    assert [one["number"] for one in read_control(url, "record")["arrivals"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("orders", {"orders": [{"app_id": APP_ID}]}, "request_id or custom_parm is needed"),
        ("orders", {"orders": [{"request_id": "1"}]}, "app_id must be one of"),
        ("orders", [], "should be an object"),
        ("faults", {"shares": {"flood": 1}}, "'flood' is no fault"),
        ("faults", {"shares": {"refuse": 2}}, "shares.refuse: Input should be"),
        ("faults", {"latencies": "1"}, "latencies: Unexpected"),
        ("faults", {"latency": "soon"}, "latency: Value error, 'soon' is not a duration"),
    ],
)
def test_wrong_values_are_answered_with_what_is_accepted(
    troubled: Troubled, path: str, value: Any, message: str
) -> None:
    answered = write_control(troubled().url, path, value)
    assert answered.status == 400
    assert message in answered.json["error"]


def test_the_control_endpoint_names_its_routes_and_reads_json_only(troubled: Troubled) -> None:
    url = troubled().url
    assert write_control(url, "record", {}).status == 404
    assert exchange(url, "POST", "/simulator/faults", b"{", {}).status == 400


def test_only_this_machine_may_read_and_change(troubled: Troubled) -> None:
    platform = troubled().platform
    for client, status in (("127.0.0.1", 200), ("10.0.0.2", 403)):
        assert control(platform, client=client, method="GET", path="/simulator/truth", body=b"").status == status


def test_callbacks_are_pushed_to_a_url() -> None:
    received: queue.Queue[Delivered] = queue.Queue()

    def take(delivered: Delivered, answering: Answering) -> None:
        received.put(delivered)
        answering.answer()

    with Receiver(take) as receiver, Simulator(config(), push=http_push(receiver.url)) as simulator:
        simulator.register([NewOrder(request_id="1", mobile="18812340804", amount="2.94")])
        pushed = received.get(timeout=100)
    body = json.loads(pushed.body)
    assert receiver.url.endswith(pushed.path)
    assert (body["requestId"], body["trafficSts"], body["mobile"]) == ("1", "1", "188****0804")


def test_the_platform_takes_what_the_walkthrough_posts_to_it() -> None:
    page = Path(__file__).parents[3] / "docs" / "walkthrough.md"
    posted = re.findall(r"/simulator/(\w+) -d '([^']*)'", page.read_text())
    assert {where for where, _ in posted} == {"orders", "faults"}
    with Simulator(config()) as simulator:
        answers = [write_control(simulator.url, where, json.loads(body)) for where, body in posted]
    assert {(answer.status, answer.json.get("error")) for answer in answers} == {(200, None)}
