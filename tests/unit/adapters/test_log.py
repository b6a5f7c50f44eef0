"""The form of a log record, and what it never holds."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from tests.support.command_line import logging_restored
from worker.adapters.log import LIBRARY_ACTION, UNNAMED_ACTION, configure_logging

TOKEN = "0123456789abcdef0123456789abcdef"
SIGN = "698CD6F76DB3CAE8E9875C1F8F298B2C"
FORMATS = ("console", "json")

Start = Callable[..., io.StringIO]


@pytest.fixture
def start() -> Iterator[Start]:
    """Configures logging onto a stream, and restores this process's logging afterwards."""

    def configure(log_format: str, level: str = "INFO") -> io.StringIO:
        stream = io.StringIO()
        configure_logging(level, log_format, secrets=[TOKEN, "pass/word%1"], stream=stream)
        return stream

    with logging_restored():
        yield configure


def log() -> structlog.stdlib.BoundLogger:
    return structlog.stdlib.get_logger("worker.test")


def record(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_json_record_has_action_utc_time_level_and_logger(start: Start) -> None:
    stream = start("json")
    log().info("query answered", action="query_answered", items=3, amount=Decimal("2.94"))
    found = record(stream)
    assert list(found)[:5] == ["timestamp", "level", "logger", "action", "event"]
    assert (found["level"], found["logger"], found["action"]) == ("info", "worker.test", "query_answered")
    assert (found["items"], found["amount"]) == (3, "2.94")
    assert datetime.fromisoformat(found["timestamp"]).utcoffset() == timedelta(0)


def test_console_record_is_one_line_with_its_action(start: Start) -> None:
    stream = start("console")
    log().info("query answered", action="query_answered", remark="成功")
    (line,) = stream.getvalue().splitlines()
    assert "action=query_answered" in line
    assert "remark=成功" in line
    assert "\x1b" not in line, "no colours where there is no terminal"


@pytest.mark.parametrize(("log_format", "hours"), [("console", 8), ("json", 0)])
def test_people_read_times_in_their_zone_and_machines_in_utc(start: Start, log_format: str, hours: int) -> None:
    stream = io.StringIO()
    start(log_format)
    configure_logging("INFO", log_format, zone=ZoneInfo("Asia/Shanghai"), stream=stream)
    log().info("ours", action="ours")
    logging.getLogger("celery").info("a library's")
    for line in stream.getvalue().splitlines():
        stamp = json.loads(line)["timestamp"] if log_format == "json" else line.split()[0]
        time = datetime.fromisoformat(stamp)
        assert time.utcoffset() == timedelta(hours=hours), line
        assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def test_library_records_have_the_same_form(start: Start) -> None:
    stream = start("json")
    logging.getLogger("celery.worker").info("task %s received", "reconciler.reconcile")
    found = record(stream)
    assert found["event"] == "task reconciler.reconcile received"
    assert (found["action"], found["logger"]) == (LIBRARY_ACTION, "celery.worker")


def test_record_of_ours_without_an_action_still_has_the_key(start: Start) -> None:
    stream = start("json")
    log().info("something")
    assert record(stream)["action"] == UNNAMED_ACTION


def test_bound_context_is_in_records_of_libraries_too(start: Start) -> None:
    stream = start("json")
    with structlog.contextvars.bound_contextvars(query_id=7):
        logging.getLogger("celery").info("hello")
    assert record(stream)["query_id"] == 7


def test_python_warnings_become_records(start: Start) -> None:
    stream = start("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    found = record(stream)
    assert found["logger"] == "py.warnings"
    assert "old thing" in found["event"]


def test_level_is_respected(start: Start) -> None:
    stream = start("json", level="WARNING")
    log().info("quiet")
    logging.getLogger("celery").info("quiet")
    log().warning("loud")
    assert record(stream)["event"] == "loud"


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "sqlalchemy.engine.Engine"])
def test_talkative_libraries_stay_quiet_even_at_debug(start: Start, name: str) -> None:
    stream = start("json", level="DEBUG")
    logging.getLogger(name).info("POST /traffic?Sign=...")
    assert stream.getvalue() == ""


def test_configuring_again_writes_each_record_once(start: Start) -> None:
    first, second = start("json"), start("json")
    log().info("once")
    assert first.getvalue() == ""
    assert record(second)["event"] == "once"


def test_a_wrong_level_is_refused_and_changes_nothing() -> None:
    handlers = list(logging.getLogger().handlers)
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("LOUD", "json")
    assert logging.getLogger().handlers == handlers


HOSTILE = "ok\n2026-01-01T00:00:00Z [error] forged\r\x1b[2J\x9b1m\x7f\u2028\u202e\ud800 end"


@pytest.mark.parametrize("log_format", FORMATS)
def test_control_characters_from_outside_are_escaped(start: Start, log_format: str) -> None:
    stream = start(log_format)
    log().info(HOSTILE, action="x", remark=HOSTILE, items=[HOSTILE], by_id={HOSTILE: HOSTILE})
    logging.getLogger("celery").info("said %s", HOSTILE)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\u2028" in text
    assert "\\x1b" in text or "\\u001b" in text


def test_json_keeps_the_meaning_of_what_it_escapes(start: Start) -> None:
    stream = start("json")
    log().info("x", remark=HOSTILE)
    assert record(stream)["remark"] == HOSTILE


@pytest.mark.parametrize("log_format", FORMATS)
def test_message_of_an_exception_cannot_forge_a_record(start: Start, log_format: str) -> None:
    stream = start(log_format)
    try:
        raise ValueError("bad\n2026-01-01T00:00:00Z [error] forged \x1b[2J")
    except ValueError:
        log().exception("failed", action="failed")
    lines = stream.getvalue().splitlines()
    assert not any(line.startswith("2026-01-01") for line in lines)
    assert "\x1b" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


LEAKS = [
    f"token {TOKEN}",
    f"POST /201512/sid/abc/traffic/Traffic.wx?Sign={SIGN}",
    f"{{'Authorization': '{TOKEN}'}}",
    f"http://x/?sign={SIGN.lower()}",
    f"redis://:{TOKEN}@host/0",
    f"auth_token={TOKEN}",
]


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("leak", LEAKS)
def test_no_secret_is_in_any_record(start: Start, log_format: str, leak: str) -> None:
    stream = start(log_format, level="DEBUG")
    log().info(leak, detail=leak, nested=[{"a": (leak,)}], error=ValueError(leak), raw=leak.encode())
    logging.getLogger("celery").error("broken: %s", leak)
    try:
        try:
            raise ValueError(leak)
        except ValueError as error:
            raise RuntimeError("second") from error
    except RuntimeError:
        log().exception("failed")
        logging.getLogger("celery").exception("failed too")
    text = stream.getvalue()
    assert TOKEN not in text
    assert SIGN.lower() not in text.lower()
    assert "second" in text, "the traceback is there"


@pytest.mark.parametrize("key", ["authorization", "Authorization", "sign", "auth_token", "authToken", "password"])
def test_value_beside_a_secret_key_is_masked(start: Start, key: str) -> None:
    stream = start("json")
    log().info("x", headers={key: "short"}, **{key: "short"})
    found = record(stream)
    assert found[key] == "***"
    assert found["headers"][key] == "***"


@pytest.mark.parametrize("leak", ["redis://user:pw@host/0", "amqp://u:p%40w@h//", "mysql+pymysql://u:pw@h/d"])
def test_password_in_any_url_is_masked_and_the_rest_stays(start: Start, leak: str) -> None:
    stream = start("json")
    log().info("x", url=leak)
    assert record(stream)["url"] == leak.replace("pw", "***").replace("p%40w", "***")


def test_secret_is_masked_in_its_percent_encoded_form_too(start: Start) -> None:
    stream = start("json")
    log().info("tried pass%2Fword%251 and pass/word%1")
    assert record(stream)["event"] == "tried *** and ***"


def test_traceback_shows_no_local_variables(start: Start) -> None:
    stream = start("console")
    phone = "188" + "12340804"
    try:
        raise RuntimeError(str(len(phone)))
    except RuntimeError:
        log().exception("failed")
    assert phone not in stream.getvalue()


def test_value_that_cannot_be_shown_does_not_lose_the_record(start: Start) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(TOKEN)

    stream = start("json")
    log().info("x", value=Broken(), number=float("nan"))
    found = record(stream)
    assert "Broken" in found["value"]
    assert found["number"] == "nan"


def test_record_with_wrong_arguments_is_reported_without_its_values(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = start("json")
    logging.getLogger("celery").info("%d items", TOKEN)
    assert "a record of celery could not be logged: TypeError" in stream.getvalue()
    assert TOKEN not in stream.getvalue() + capsys.readouterr().err
