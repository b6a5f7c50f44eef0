"""A recorded workload: when each order was submitted, settled by the platform, and reported by a callback."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Order(NamedTuple):
    """One order of a scenario; all times in seconds from its start."""

    submitted: float
    settled: float | None
    """When the platform settles it; None for one that is stuck for good."""
    callback: float | None
    """When its callback comes; None for one that is lost."""


class ScenarioError(Exception):
    """A file that holds no scenario. The text is one line and says where it is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A workload and the limits of its queries. An order is named by its index in `orders`."""

    horizon_seconds: float
    grace_seconds: float
    """How long an order waits for its callback before it may be polled."""
    window_seconds: float
    """One query may be sent in each window."""
    batch_size: int
    """How many orders one query polls at most."""
    orders: Sequence[Order]


def read_scenario(path: Path) -> Scenario:
    """The scenario that a JSON file holds. Raises `ScenarioError` where it holds none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    try:
        return scenario_from(value)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def write_scenario(scenario: Scenario, path: Path) -> None:
    """Store a scenario as JSON that `read_scenario` reads. Raises `ScenarioError` where it cannot be written."""
    value = {
        "horizon_seconds": scenario.horizon_seconds,
        "grace_seconds": scenario.grace_seconds,
        "window_seconds": scenario.window_seconds,
        "batch_size": scenario.batch_size,
        "orders": scenario.orders,
    }
    try:
        path.write_text(json.dumps(value), "utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from error


def scenario_from(value: object) -> Scenario:
    """The scenario that a JSON value describes. Raises `ScenarioError` where it describes none."""
    if not isinstance(value, Mapping):
        raise ScenarioError("a scenario is a JSON object")
    batch_size = _number(value, "batch_size")
    if batch_size < 1 or batch_size != int(batch_size):
        raise ScenarioError(f"batch_size must be a whole number from 1, and is {batch_size}")
    orders = value.get("orders")
    if not isinstance(orders, list):
        raise ScenarioError("orders is missing, or no list")
    return Scenario(
        horizon_seconds=_positive(value, "horizon_seconds"),
        grace_seconds=_from_zero(value, "grace_seconds"),
        window_seconds=_positive(value, "window_seconds"),
        batch_size=int(batch_size),
        orders=[_order(index, order) for index, order in enumerate(orders)],
    )


def _order(index: int, value: object) -> Order:
    if not isinstance(value, list) or len(value) != 3:
        raise ScenarioError(f"orders[{index}] must be [submitted, settled or null, callback or null]")
    submitted, settled, callback = value
    if not _is_number(submitted):
        raise ScenarioError(f"orders[{index}]: submitted must be a number of seconds")
    if not all(time is None or _is_number(time) for time in (settled, callback)):
        raise ScenarioError(f"orders[{index}]: settled and callback must be numbers of seconds, or null")
    if settled is not None and settled < submitted:
        raise ScenarioError(f"orders[{index}] is settled before it is submitted")
    if callback is not None and (settled is None or callback < settled):
        raise ScenarioError(f"orders[{index}] has a callback before it is settled")
    return Order(submitted, settled, callback)


def _from_zero(value: Mapping[object, object], key: str) -> float:
    number = _number(value, key)
    if number < 0:
        raise ScenarioError(f"{key} must not be negative, and is {number}")
    return number


def _positive(value: Mapping[object, object], key: str) -> float:
    number = _number(value, key)
    if number <= 0:
        raise ScenarioError(f"{key} must be more than zero, and is {number}")
    return number


def _number(value: Mapping[object, object], key: str) -> float:
    number = value.get(key)
    if not isinstance(number, int | float) or not _is_number(number):
        raise ScenarioError(f"{key} is missing, or no number")
    return number


def _is_number(value: object) -> bool:
    # JSON's true is an int in Python, and its NaN and Infinity are floats.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
