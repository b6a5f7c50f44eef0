import pytest

from benchmarks.schedule.workloads import HARD, SILENT, STUDY, WORKLOADS, make_scenario

LOAD = 3.0


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_name_load_and_seed_make_the_same_day(name: str) -> None:
    assert make_scenario(name, LOAD, 7) == make_scenario(name, LOAD, 7)
    assert make_scenario(name, LOAD, 7) != make_scenario(name, LOAD, 8)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_is_one_day_of_orders_that_settle_after_they_are_submitted(name: str) -> None:
    scenario = make_scenario(name, LOAD, 1)
    assert (scenario.horizon_seconds, scenario.grace_seconds) == (86400, 600)
    assert (scenario.window_seconds, scenario.batch_size) == (60, 100)
    for submitted, settled, callback in scenario.orders:
        assert 0 <= submitted <= 86400
        assert settled is None or submitted <= settled
        assert callback is None or (settled is not None and settled <= callback)


@pytest.mark.parametrize("name", STUDY)
def test_the_study_has_its_load_its_stuck_orders_and_its_lost_callbacks(name: str) -> None:
    orders = make_scenario(name, 20, 1).orders
    settled = [order for order in orders if order.settled is not None]
    lost = sum(order.callback is None for order in settled) / len(settled)
    assert len(orders) / 1440 == pytest.approx(20, rel=0.03)
    assert 1 - len(settled) / len(orders) == pytest.approx(0.01, abs=0.003)
    # In the outage the receiver is down for one hour of the day, too.
    assert lost == pytest.approx(0.05 + 0.95 / 24 if name == "outage" else 0.05, abs=0.006)


@pytest.mark.parametrize("name", SILENT)
def test_a_silent_workload_has_no_callback(name: str) -> None:
    assert not [order for order in make_scenario(name, LOAD, 1).orders if order.callback is not None]


def test_each_hard_workload_has_what_it_is_named_after() -> None:
    night, flood, waves, standstill = (
        make_scenario(name, LOAD, 1).orders for name in ("night", "flood", "waves", "standstill")
    )
    assert not [order for order in night if 600 <= order.submitted / 60 < 1080]
    assert len([order for order in flood if 600 <= order.submitted / 60 < 610]) > 10 * 10 * LOAD
    assert {order.settled % 1800 for order in waves if order.settled is not None} == {0}
    start, end = HARD["standstill"].outage
    settled = [order.settled / 60 for order in standstill if order.settled is not None]
    assert not [minute for minute in settled if start <= minute < end]
    assert settled.count(end) > LOAD * (end - start) / 2
