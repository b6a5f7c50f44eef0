"""Findings as lines."""

from worker.cli.doctor import doctor_lines, doctor_summary
from worker.doctor.finding import fatal, ok, skipped, warning
from worker.domain.records.sentences import Sentence

FOUND = [
    ok("database", "answers"),
    fatal("database_revision", Sentence("behind this release"), Sentence("run `reconciler migrate`")),
    skipped("maxmemory_policy", "the broker does not answer"),
]


def test_a_finding_is_one_line_where_there_is_no_terminal() -> None:
    assert ["".join(line) for line in doctor_lines(FOUND, None)] == [
        "ok       database           answers",
        "FATAL    database_revision  behind this release: run `reconciler migrate`",
        "skipped  maxmemory_policy   the broker does not answer",
    ]


def test_on_a_terminal_lines_are_wrapped_beneath_each_other() -> None:
    drawn = ["".join(line) for line in doctor_lines(FOUND, 52)]
    assert drawn[1:3] == [
        "FATAL    database_revision  behind this release: run",
        "                            `reconciler migrate`",
    ]
    assert max(map(len, drawn)) <= 52


def test_the_last_line_sums_up_the_findings() -> None:
    careful = warning("fsync", Sentence("off"), Sentence("set fsync = on"))
    assert doctor_summary([ok("fsync", "on")]) == "All is well."
    assert doctor_summary([careful]) == "Nothing is fatal; 1 warning."
    assert doctor_summary([careful, careful, *FOUND]) == "1 fatal, 2 warnings: the worker does not start."
    assert doctor_summary(FOUND) == "1 fatal, no warning: the worker does not start."
