"""The Tab key, in the shells themselves where they are installed."""

import shlex
import subprocess
from collections.abc import Mapping

import pytest

from tests.support.command_line import ACCOUNT, PROGRAM, environment

ASK_BASH = """
source completion.bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_reconciler_completion reconciler
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which `reconciler` is, with what it has bash evaluate: bash looks for sourced files there, too."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "reconciler"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    # The program asks which shell has called it: `true` keeps bash from being replaced by the program.
    command = ["bash", "--norc", "-c", "reconciler --show-completion > completion.bash; true"]
    subprocess.run(command, env=environment({"PATH": path}), cwd=folder, check=True, timeout=60)
    return path


def completed(path: str, *words: str, settings: Mapping[str, str] = ACCOUNT) -> list[str]:
    """What bash offers for the last of these words."""
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK_BASH, "bash", *words],
        env=environment({**settings, "PATH": path}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.slow
def test_bash_completes_commands_options_and_their_values(path: str) -> None:
    assert completed(path, "reconciler", "ord") == ["orders", "order"]
    assert "--by" in completed(path, "reconciler", "report", "--")
    assert completed(path, "reconciler", "report", "--by", "") == ["day", "account"]
    assert completed(path, "reconciler", "orders", "--state", "un") == ["unresolved"]
    # Then the shell itself offers files.
    assert completed(path, "reconciler", "compare", "") == []


@pytest.mark.slow
def test_zsh_is_answered_in_its_own_form(path: str) -> None:
    asked = {"_RECONCILER_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "reconciler ord", "PATH": path}
    done = subprocess.run(["reconciler"], env=environment(asked), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('_arguments \'*: :(("orders":')
