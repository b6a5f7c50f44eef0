"""What is logged of a database that cannot be used."""

import os

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from structlog.testing import capture_logs

from worker.database.error_kinds import OutageLog


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def away() -> Exception:
    return OperationalError("SELECT 1", {"mobile": "13912345678"}, Exception("connection refused"))


def test_an_outage_is_one_line_a_minute_whatever_is_cut_short() -> None:
    clock = Clock()
    outages = OutageLog(clock)
    with capture_logs() as logs:
        for second in range(150):
            clock.now = 1000.0 + second
            assert outages.explains(away(), "a tick was cut short")
            assert outages.explains(away(), "notifications wait")
    assert len(logs) == 3
    assert {(line["action"], line["log_level"]) for line in logs} == {("database_unavailable", "warning")}
    assert logs[0]["event"].startswith("a tick was cut short: the database ")
    assert logs[0]["event"].endswith("; it is tried again, and this is logged once a minute")
    assert "13912345678" not in str(logs)


def test_another_trouble_of_the_database_has_its_own_line() -> None:
    outages = OutageLog(Clock())
    with capture_logs() as logs:
        for error in (away(), NoConnectionFree(), away(), NoConnectionFree()):
            outages.explains(error, "a tick was cut short")
    assert [line["action"] for line in logs] == ["database_unavailable", "database_connections"]


def test_what_the_database_did_not_cause_is_left_to_the_caller() -> None:
    with capture_logs() as logs:
        assert not OutageLog(Clock()).explains(ValueError("a defect"), "a tick was cut short")
    assert logs == []


def test_processes_that_are_forked_share_the_line() -> None:
    outages = OutageLog(Clock())
    child = os.fork()
    if child == 0:
        outages.explains(away(), "a tick was cut short")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with capture_logs() as logs:
        outages.explains(away(), "a tick was cut short")
    assert logs == []
