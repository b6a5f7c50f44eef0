"""What may be shown to anybody of a reply: no credential, and no whole phone number."""

import pytest

from worker.adapters.safe_text import Redactor, report_text

HEX = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("18812340804", "188****0804"),
        ("to 8618812340804, 188-1234-0804", "to 86188****0804, 188****0804"),
        ("2016010000000219", "2016010000000219"),
        (f"/Traffic.wx?Sign={HEX}", "/Traffic.wx?Sign=***"),
        ('{"auth":{"accessToken" : "x\\"y"},"n":1}', '{"auth":{"accessToken" : "***"},"n":1}'),
        ("it is known-secret", "it is ***"),
        ("成功", "成功"),
    ],
)
def test_what_is_masked(text: str, shown: str) -> None:
    assert report_text(text, Redactor(["known-secret"])) == shown


@pytest.mark.parametrize("key", ["Sign", "authorization", "AuthToken", "PASSWORD"])
def test_what_stands_under_the_name_of_a_secret_is_masked_whole(key: str) -> None:
    assert report_text("plain", Redactor(), key=key) == "***"
