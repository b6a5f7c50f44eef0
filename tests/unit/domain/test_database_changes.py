"""When a database is another one than a slot's row was written in, and what is said of it."""

from datetime import timedelta

import pytest

from tests.unit.domain.builders import NOW
from worker.domain.database_changes import in_words, is_another, is_noted, noted
from worker.domain.records.database_identity import DatabaseChanges, DatabaseIdentity, Provenance

HERE = DatabaseIdentity.of({"system": 7, "table": 16_401})
"""What a role with all rights sees."""


def written(text: str) -> Provenance:
    return Provenance(identity=DatabaseIdentity(text))


def minutes_ago(*minutes: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=each) for each in minutes)


@pytest.mark.parametrize("text", ["system=7 table=16402", "system=8 table=16401", "table=1"])
def test_a_fact_that_is_another_one_makes_it_another_database(text: str) -> None:
    assert is_another(written(text), HERE)
    assert not is_noted(written(text), HERE)
    assert noted(written(text), HERE, NOW) == Provenance(identity=HERE, changes=(NOW,))


@pytest.mark.parametrize("text", ["", "table=16401", "system=7"])
def test_what_a_row_does_not_say_is_taken_without_a_change(text: str) -> None:
    assert not is_another(written(text), HERE)
    assert not is_noted(written(text), HERE)
    assert noted(written(text), HERE, NOW) == Provenance(identity=HERE)


@pytest.mark.parametrize("text", ["system=7 table=16401", "system=7 table=16401 timeline=1"])
def test_what_a_role_may_not_read_stays_as_another_role_has_read_it(text: str) -> None:
    assert not is_another(written(text), HERE)
    assert is_noted(written(text), HERE)
    assert noted(written(text), HERE, NOW) == written(text)


def test_where_nothing_is_known_no_database_is_another_one() -> None:
    nothing = DatabaseIdentity()
    assert is_noted(Provenance(), nothing)
    assert not is_another(written("system=7"), nothing)
    assert noted(written("system=7"), nothing, NOW) == written("system=7")


def test_the_last_three_changes_are_kept() -> None:
    provenance = Provenance(identity=HERE)
    for hour in range(4):
        elsewhere = DatabaseIdentity.of({"system": hour})
        provenance = noted(provenance, elsewhere, NOW + timedelta(hours=hour))
    assert provenance.changes == tuple(NOW + timedelta(hours=hour) for hour in (1, 2, 3))


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        ((), None),
        ((61,), None),
        ((59,), "59 minutes ago the database was another one, after a restore or a failover"),
        ((61, 50, 2), "2 minutes ago the database was another one, after a restore or a failover"),
        ((59, 50, 2), "2 minutes ago the database was another one, for the third time within an hour"),
    ],
)
def test_a_change_is_reported_for_an_hour_and_three_in_an_hour_as_such(
    minutes: tuple[float, ...], said: str | None
) -> None:
    changes = DatabaseChanges(now=NOW, changes=tuple(NOW - ago for ago in minutes_ago(*minutes)))
    words = in_words(changes)
    assert words is None if said is None else str(words).startswith(said)


def test_a_change_that_no_worker_has_noted_yet_is_reported() -> None:
    assert "wrote the budget" in str(in_words(DatabaseChanges(now=NOW, is_another=True)))
