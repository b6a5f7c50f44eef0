"""What is logged of a broker that is away."""

import logging
from collections.abc import Iterator

import pytest
from kombu.transport.virtual import base as virtual
from structlog.testing import capture_logs
from structlog.typing import EventDict

from worker.broker.log_filters import STOPPING_LOGGER, BrokerOutageFilter, is_no_requeue


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def library(clock: Clock) -> Iterator[logging.Logger]:
    """A logger of a library, as Celery uses it."""
    logger = logging.getLogger("library.of.the.tests")
    outage = BrokerOutageFilter(lambda: (ConnectionError, KeyError), clock)
    logger.addFilter(outage)
    yield logger
    logger.removeFilter(outage)


def lines(logs: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["action"], line["error"]) for line in logs]


def away() -> ConnectionError:
    return ConnectionError("refused")


def test_a_broker_outage_is_one_line_a_minute(
    library: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        for second in range(150):
            clock.now = 1000.0 + second
            library.error("Cannot connect to %s: %s", "redis://", away())
    assert lines(logs) == [("broker_unavailable", "ConnectionError: refused")] * 3
    assert caplog.records == []


def test_an_error_that_is_wrapped_or_comes_with_its_traceback_counts(library: logging.Logger) -> None:
    with capture_logs() as logs:
        try:
            try:
                raise away()
            except ConnectionError as error:
                raise RuntimeError("a tick could not be sent") from error
        except RuntimeError as error:
            library.error("Message Error: %s", error, exc_info=True)
    assert lines(logs) == [("broker_unavailable", "ConnectionError: refused")]


def test_whatever_else_is_logged_passes(library: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs, caplog.at_level(logging.INFO):
        library.error("a mistake: %r", KeyError("of ours"))
        library.error("a mistake without an error")
        library.info("connected, after %s", away())
    assert logs == []
    assert len(caplog.records) == 3


def test_a_message_that_is_put_back_while_the_worker_stops_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    # kombu's own logger and text: a new release that changes either shows here.
    assert virtual.logger.name == STOPPING_LOGGER
    virtual.logger.addFilter(is_no_requeue)
    try:
        virtual.logger.warning(virtual.W_NO_CONSUMERS, "reconciler.ticks")
        virtual.logger.warning("something else of %r", "reconciler.ticks")
    finally:
        virtual.logger.removeFilter(is_no_requeue)
    assert [record.getMessage() for record in caplog.records] == ["something else of 'reconciler.ticks'"]
