"""A finding as it is shown."""

from worker.adapters.redaction import Redactor
from worker.doctor.checks import ok, warning


def test_a_finding_is_a_line_that_says_what_to_do() -> None:
    assert str(ok("fsync", "on")) == "on"
    assert str(warning("fsync", "off", "set fsync = on")) == "off: set fsync = on"


def test_what_is_shown_holds_no_secret_and_no_control_character() -> None:
    check = warning("broker", "it said\n'\x1b[2Jsesame-street'", "open sesame-street").shown_with(
        Redactor(["sesame-street"])
    )
    assert (check.detail, check.remedy) == (r"it said '\x1b[2J***'", "open ***")
