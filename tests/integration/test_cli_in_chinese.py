"""The commands in Chinese for people, and in English for programs, whatever the language of the system."""

import re
from pathlib import Path

import pytest

from tests.integration.test_cli_poll import MOBILE, SHORT, SHORT_WINDOW, platform
from tests.integration.test_console_in_chinese import HALF_WIDTH, fill
from tests.support.command_line import CommandLine
from tests.support.reconciling import Workbench
from tests.support.ticking import let_a_worker_tick
from worker.operations.write_heartbeat import host_name
from worker.simulator.server import Simulator

__all__ = ["platform"]
pytestmark = pytest.mark.quick_on("sqlite")

CHINESE = {"LC_ALL": "zh_CN.UTF-8"}
# Names that stand in English in a Chinese output, too: of commands, options, settings, fields and formats, and what
# the test or a server has put there.
NAMES = re.compile(
    r"no connection(?:: OSError \(refused\))?|`[^`]*`|--[a-z-]+|RECONCILER_[A-Z_]+|[a-z]+://\S+|docs/\S+|id:[0-9]+"
    "|request_id|custom_parm|customParm|requestId|trafficSts|oriAmount|statusCode|appid|mobile|SID|ACCOUNT|AUTH TOKEN"
    "|reconciler [a-z]+|default(?::[0-9]+)?|ann|HTTP|IP|Ctrl-C|app-1|SQLite [0-9.]+"
    r"|[0-9.]+\.dev[0-9]+"
    "|Error 111 .* refused\\.|notify_events|UTF-8|GB18030|JSON|ISO 8601|Celery|beat|order\\.[a-z]+"
)
# Of `poll`: names of headers, fields and encodings, and what is sent and answered.
WIRE = re.compile(
    r"^(url|Content-Type|Accept|Authorization|User-Agent|body|内容类型) .*$|traffic/Traffic.wx|Sign|Authorization"
    r"|[0-9a-f]{32}|\"[^\"\n]*\"|remark|utf_8|gbk|gb2312|gb18030",
    re.MULTILINE,
)


def in_chinese(cli: CommandLine, **more: str) -> CommandLine:
    return CommandLine({**cli.settings, **CHINESE, **more})


def english_in(shown: str) -> list[str]:
    """What is in English, or has a mark of half width within a Chinese sentence."""
    plain = NAMES.sub("", shown.replace(host_name(), ""))
    return re.findall(r"[A-Za-z]{2,}[^\n]*", plain) + HALF_WIDTH.findall(plain)


@pytest.mark.parametrize("width", [80, 250])
def test_status_todo_and_orders_are_in_chinese(cli: CommandLine, bench: Workbench, width: int) -> None:
    fill(bench)
    let_a_worker_tick(bench)
    for command in (["status"], ["todo"], *(["order", f"id:{order.id}"] for order in bench.orders()[:8])):
        printed = in_chinese(cli).run(*command, width=width)
        assert english_in(printed.stdout + printed.stderr) == [], printed.stdout


def test_an_order_is_due_for_a_poll_and_not_for_a_notification(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    fields = in_chinese(cli).run("order", "1").stdout
    assert "应查询时间" in fields
    assert "下次发送" not in fields


def test_how_to_set_a_token_is_said_in_chinese(cli: CommandLine) -> None:
    said = in_chinese(cli).run("callback-url").stderr
    assert "请把 RECONCILER_CALLBACK_TOKEN 设为" in said
    assert "The path" not in said


def test_nothing_to_do_is_said_in_chinese(cli: CommandLine, bench: Workbench) -> None:
    assert bench.orders() == []
    assert in_chinese(cli).run("todo").stdout == "没有需要人工处理的事项。\n"


@pytest.mark.workbench(rules=SHORT)
@pytest.mark.databases("sqlite")
def test_a_poll_is_in_chinese(cli: CommandLine, bench: Workbench, platform: Simulator) -> None:
    bench.add("1", mobile=MOBILE)
    bench.let_slots_be_due()
    chinese = in_chinese(cli, RECONCILER_PLATFORM_URL=platform.url, **SHORT_WINDOW)
    dry = chinese.run("poll", "1", "--dry-run").stdout
    assert dry == "未做任何更改。不加 --dry-run 时：将向平台发送一次查询，包含接口账号 default 的 1 笔订单。\n"
    printed = chinese.run("poll", "1", "--yes")
    assert "证明的结果" in printed.stdout
    assert english_in(WIRE.sub("", printed.stdout)) == [], printed.stdout
    refused = chinese.run("poll", "2", "--yes", status=1)
    assert refused.stderr.startswith("未执行：2：接口账号 default 下没有订单 2：请先提交该订单")
    assert refused.stdout == "未发送查询。\n"


@pytest.mark.databases("sqlite")
def test_the_doctor_is_in_chinese(cli: CommandLine, bench: Workbench) -> None:
    bench.add("1")
    shown = in_chinese(cli, RECONCILER_PLATFORM_URL="http://127.0.0.1:9").run("doctor").stdout
    lines = [re.split(" {2,}", line, maxsplit=2) for line in shown.splitlines()]
    assert {label for label, *_ in lines[:-1]} == {"正常", "警告", "跳过"}
    assert lines[-1][0].startswith("没有严重问题，")
    assert english_in("\n".join(words for _, _, words in lines[:-1])) == [], shown


@pytest.mark.databases("sqlite")
def test_json_and_the_line_for_monitoring_are_the_same_in_every_language(cli: CommandLine, bench: Workbench) -> None:
    fill(bench)
    moments = re.compile(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.+]+|[0-9.]+ (seconds?|minutes?)|_seconds[^\n]*|_ahead[^\n]*"
    )
    commands: list[tuple[str, ...]] = [("status", "--json"), ("status", "--check"), ("status", "--check", "--json")]
    commands += [("todo", "--json"), ("todo", "--csv"), ("order", "id:1", "--json"), ("order", "id:2", "--json")]
    for command in commands:
        english, chinese = (one.run(*command, status=None) for one in (cli, in_chinese(cli)))
        assert english.exit_code == chinese.exit_code
        assert moments.sub("", english.stdout) == moments.sub("", chinese.stdout)
        assert english.stdout != ""


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "variables",
    [
        *({"LC_ALL": name} for name in ("zh_CN.UTF-8", "zh_TW.UTF-8", "zh_CN", "zh")),
        {"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"},
        {"LANG": "zh_CN.UTF-8"},
        {"LC_ALL": "C", "RECONCILER_LANGUAGE": "zh"},
        {"LC_ALL": "C", "RECONCILER_LANGUAGE": "ZH"},
    ],
)
def test_chinese_is_spoken_where_it_is_chosen(cli: CommandLine, bench: Workbench, variables: dict[str, str]) -> None:
    assert bench.orders() == []
    assert CommandLine({**cli.settings, **variables}).run("todo").stdout == "没有需要人工处理的事项。\n"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "variables",
    [
        *({"LC_ALL": name, "LANG": "zh_CN.UTF-8"} for name in ("C", "POSIX", "en_US.UTF-8", "de_DE")),
        {"LC_MESSAGES": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"},
        {"LC_ALL": "zh_CN.UTF-8", "RECONCILER_LANGUAGE": "en"},
        {"LANG": ""},
    ],
)
def test_english_is_spoken_elsewhere(cli: CommandLine, bench: Workbench, variables: dict[str, str]) -> None:
    assert bench.orders() == []
    assert CommandLine({**cli.settings, **variables}).run("todo").stdout == "Nothing needs a person.\n"


@pytest.mark.databases("sqlite")
def test_acts_and_lists_are_in_chinese(cli: CommandLine, bench: Workbench, tmp_path: Path) -> None:
    bench.add("1", "2", "3", "4", "5", expected_amount="2.94")
    bench.run("UPDATE recharge_orders SET state = 'unresolved' WHERE request_id = '5'")
    let_a_worker_tick(bench)
    orders, users = tmp_path / "o.csv", tmp_path / "users.toml"
    orders.write_text("request_id,mobile,expected_amount,submitted_at\n9,1,1,1\n", "utf-8")
    chinese = in_chinese(cli, RECONCILER_USERS_FILE=str(users), RECONCILER_LOG_LEVEL="CRITICAL")
    commands = (
        *(["resolve", "1", "--state", "succeeded", "--amount", "9"], ["resolve", "2", "--state", "failed"]),
        *(
            ["resolve", "1", "--state", "failed"],
            ["dismiss", "1"],
            ["reopen", "--unresolved", "--yes"],
            ["cancel", "3"],
        ),
        *(["check", "4", "5"], ["resend", "--since", "2d", "--yes"], ["pause", "default", "--for", "2h"]),
        *(["pause", "--all", "--from", "23:00", "--until", "06:00"], ["pause", "default"], ["resume", "default"]),
        *(["resume", "default", "--planned"], ["resume", "default", "--planned"], ["resume", "default"], ["hold"]),
        *(
            ["limit", "--window", "60"],
            ["orders"],
            ["orders", "--limit", "1"],
            ["orders", "--summary"],
            ["queries"],
            ["rejected"],
        ),
        *(
            ["unmatched"],
            ["notifications"],
            ["acts"],
            ["archive", "--settled-before", "2d"],
            ["purge", "--orders", "90d", "--yes"],
        ),
        *(
            ["purge", "--older-than", "400d", "--yes"],
            ["report"],
            ["enqueue", str(orders)],
            ["user", "list"],
            ["migrate"],
        ),
    )
    acts = ("resolve", "dismiss", "reopen", "cancel", "check", "resend", "pause", "resume", "hold")
    for command in commands:
        why = ("--reason", "核对过") if command[0] in acts else ()
        printed = chinese.run(*command, *why, status=None)
        shown = "\n".join(line for line in (printed.stdout + printed.stderr).splitlines() if "action=" not in line)
        shown = re.sub(rf"{tmp_path}\S*|root|\b(single|batch|suspects|request_id|[a-z]+_[a-z_]+)\b", "", shown)
        assert english_in(shown) == [], (command, shown)
    added = chinese.run("user", "add", "li", "--role", "act", stdin="a long password of li\n")
    assert added.stderr == "li 可以登录，可查看全部内容并操作。\n"
