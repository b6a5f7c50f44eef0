"""Which language is spoken before the settings are read, and refusals in it."""

import subprocess
import sys
from pathlib import Path

import pytest

import worker
from tests.support.command_line import CommandLine
from worker.words import Skin
from worker.words.catalogue import translations

WORKER = Path(worker.__file__).parent
CHINESE = Skin(translate=translations("zh").gettext)
ASKED = {"LC_ALL": "zh_CN.UTF-8"}


def refused(*arguments: str, status: int = 2, **settings: str) -> str:
    printed = CommandLine({**ASKED, **settings}).run(*arguments, status=status)
    assert printed.stdout == ""
    return printed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order"], "缺少参数 REF；用法见 reconciler order --help"),
        (["order", "1", "2"], "多余的参数：2；用法见 reconciler order --help"),
        (["statu"], "没有命令 statu，是否指 status？；用法见 reconciler --help"),
        (["orders", "--mobil", "1"], "没有选项 --mobil（可能是 --mobile）；用法见 reconciler orders --help"),
        (["status", "--x"], "没有选项 --x；用法见 reconciler status --help"),
        (["todo", "--limit"], "选项 --limit 需要一个值；用法见 reconciler --help"),
        (["todo", "--limit", "0"], "--limit 的值无效：不能小于 1；用法见 reconciler todo --help"),
        (["todo", "--limit", "x"], "--limit 的值无效：须为整数；用法见 reconciler todo --help"),
        (["resolve", "1"], "缺少选项 --state，可选：succeeded, failed；用法见 reconciler resolve --help"),
        (["explain", "/x", "--ids", "1"], "FILE 的值无效：'/x'：没有这个文件或目录；用法见 reconciler explain --help"),
        (
            ["poll", "1", "--wait", "x"],
            "--wait 的值无效：'x' 不是时长；应为：时长，例如 90m、12h 或 7d；用法见 reconciler poll --help",
        ),
    ],
)
def test_wrong_use_is_refused_in_chinese(arguments: list[str], said: str) -> None:
    assert refused(*arguments) == f"错误：{said}\n"


def test_what_a_program_asks_for_is_refused_in_english() -> None:
    assert refused("todo", "--limit", "0", "--json").startswith("Error: Invalid value for '--limit'")


def test_wrong_settings_are_refused_in_the_language_that_is_chosen_beside_them() -> None:
    said = "错误：RECONCILER_BATCH_SIZE 过大（'900'）；应为：1 至 100 的整数\n"
    wrong = {"RECONCILER_BATCH_SIZE": "900"}
    assert refused("status", status=1, **wrong) == said
    Path(".env").write_text("RECONCILER_LANGUAGE=zh\n", "utf-8")
    assert refused("status", status=1, **wrong, LC_ALL="C") == said
    Path(".env").write_bytes(b"RECONCILER_LANGUAGE=\xff\n")
    assert "无法读取 .env" in refused("status", status=1, **wrong)


def test_a_language_that_there_is_not_is_refused() -> None:
    said = "Error: RECONCILER_LANGUAGE is none of the accepted words ('fr'); accepted: en or zh\n"
    assert refused("status", status=1, RECONCILER_LANGUAGE="fr") == said


def test_english_is_spoken_where_the_terminal_cannot_show_chinese() -> None:
    asked = {"LC_ALL": "zh_TW.Big5", "PYTHONIOENCODING": "big5"}
    command = [sys.executable, "-c", "from worker.cli import main; main()", "order"]
    printed = subprocess.run(command, env=asked, capture_output=True, check=False)
    assert printed.stderr == b"Error: Missing argument 'REF'; see: reconciler order --help\n"


def test_help_stays_english() -> None:
    shown = CommandLine(ASKED).run("todo", "--help").stdout
    assert shown == CommandLine({}).run("todo", "--help").stdout
    assert "Usage:" in shown
