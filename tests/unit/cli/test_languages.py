"""Which language is spoken before the settings are read, and refusals in it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import worker
from tests.support.command_line import CommandLine
from worker.database.error_kinds import ErrorKind
from worker.settings import Settings
from worker.words import Skin
from worker.words.languages import translations
from worker.words.sentences import sentence_in_words

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


PLACE = "7"
CALLS = {"CommandError", "BadParameter", "SettingsError", "MigrationError", "NotAtHead"}
CALLS |= {"refuse", "warn", "say", "confirm"}
FINDINGS = {"ok", "warning", "fatal", "skipped"}
# Those of the web server's program and the demo, which speak English.
APART = ("web", "domain", "demo", "simulator", "broker", "stores", "operations", "views")


APART_FROM_SENTENCES = {
    *("appendonly yes", "7 is 7.", "7 are 7.", "7 can sign in, and 7."),
    "7 from before 7 7 in 7 s.",
}
"""A setting of a server; and what is put together of more than is written here, which tests of the commands read."""


def sentences(node: ast.expr, module: ModuleType) -> Iterator[str]:
    """What an expression may say, with `PLACE` for what is not written in it."""
    match node:
        case ast.Name(id=name):
            value = getattr(module, name, PLACE)
            yield value if isinstance(value, str) else PLACE
        case ast.Constant(value=str(said)):
            yield said
        case ast.IfExp():
            yield from (*sentences(node.body, module), *sentences(node.orelse, module))
        case ast.BinOp(op=ast.Add()):
            yield from (
                first + second for first in sentences(node.left, module) for second in sentences(node.right, module)
            )
        case ast.JoinedStr():
            wholes = [""]
            for part in node.values:
                value = part.value if isinstance(part, ast.FormattedValue) else part
                wholes = [whole + said for whole in wholes for said in sentences(value, module)]
            yield from wholes
        case _:
            yield PLACE


def said_in_code() -> Iterator[tuple[str, str]]:
    """Each sentence that is refused or found, with its place."""
    for file in sorted(WORKER.rglob("*.py")):
        part = file.relative_to(WORKER).parts[0]
        if part in APART or file.name == "__main__.py":
            continue
        module = import_module(".".join(("worker", *file.relative_to(WORKER).with_suffix("").parts)))
        if file.name in ("text_files.py", "users_file.py"):
            part = "settings"
        of_part = {"settings": {"ValueError"}, "doctor": FINDINGS}.get(part, set())
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", getattr(node.func, "id", "")) in CALLS | of_part
            ):
                for argument in node.args:
                    yield from (
                        (said, f"{file.name}:{node.lineno}") for said in sentences(argument, module) if " " in said
                    )
    for kind in ErrorKind:
        yield from ((kind.words, kind.name), (kind.remedy, kind.name))
    yield from ((field.description or PLACE, name) for name, field in Settings.model_fields.items())


def test_whatever_a_command_refuses_or_the_doctor_finds_has_its_chinese() -> None:
    found = dict(said_in_code())
    assert len(found) > 200
    missing = {
        where: said
        for said, where in found.items()
        if said not in APART_FROM_SENTENCES and re.search("[a-z]{3}", said) and not is_chinese(said)
    }
    assert missing == {}


def is_chinese(said: str) -> bool:
    return re.search("[一-鿿]", sentence_in_words(said, CHINESE)) is not None


# What typer, click, pydantic and the system say; and what the code puts together of very small parts.
OTHERWISE = re.compile(
    "^(Missing|No such|Invalid value|Input should|Got unexpected|Option |Permission denied|Is a directory|line %)"
    "|is not one of %|No such file|ended with|is not a date|of this host's clock|behind this host's clock|messages wait"
    r"|in %\(seconds\)s s|under new ids|will be (sent|polled)"
)


def test_every_sentence_that_is_said_again_stands_in_the_code_part_for_part() -> None:
    nodes = (node for file in WORKER.rglob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    written = "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    held = tomllib.loads((WORKER / "words" / "catalogue.toml").read_text("utf-8"))["said"]["parts"]
    parts = {
        said: re.split(r"%\(\w+\)s|RECONCILER_[A-Z_]*|[0-9]+|[.,;:()]| or | and | is | are | until | since ", said)
        for said in held
    }
    unused = [
        said for said in held if not OTHERWISE.search(said) and not all(part.strip() in written for part in parts[said])
    ]
    assert unused == []
