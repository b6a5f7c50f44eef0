"""Connections that are kept: the latest first, none that was idle for long, none after the end."""

from worker.adapters.notify import KeptConnections


class Line:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_the_connection_that_was_used_last_is_used_first() -> None:
    kept = KeptConnections[Line]()
    first, second = Line(), Line()
    kept.keep(first)
    kept.keep(second)
    assert [kept.take(), kept.take(), kept.take()] == [second, first, None]


def test_a_connection_that_was_idle_for_long_is_closed() -> None:
    kept = KeptConnections[Line](idle_seconds=-1.0)
    line = Line()
    kept.keep(line)
    assert kept.take() is None
    assert line.is_closed


def test_what_is_dropped_is_closed_and_others_are_kept() -> None:
    kept = KeptConnections[Line]()
    lines = [Line(), Line(), Line()]
    for line in lines[:2]:
        kept.keep(line)
    kept.drop()
    kept.keep(lines[2])
    assert [line.is_closed for line in lines] == [True, True, False]
    assert kept.take() is lines[2]


def test_after_the_end_no_connection_is_kept() -> None:
    kept = KeptConnections[Line]()
    early, late = Line(), Line()
    kept.keep(early)
    kept.close()
    kept.keep(late)
    assert (early.is_closed, late.is_closed, kept.take()) == (True, True, None)
