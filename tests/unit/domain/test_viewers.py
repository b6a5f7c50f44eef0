"""Who may act in the console."""

from worker.domain.records.viewers import Role, Viewer


def test_only_who_has_signed_in_with_the_role_to_act_may_act() -> None:
    assert Viewer(name="ann", role=Role.ACT).may_act
    assert not Viewer(name="ann", role=Role.READ).may_act
    assert not Viewer(name=None, role=Role.ACT).may_act
