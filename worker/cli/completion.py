"""`reconciler completion`: the Tab key in bash and zsh.

Typer's own --install-completion writes to a person's shell set-up, and its two options would stand in every help.
"""

import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters

VARIABLE = "_RECONCILER_COMPLETE"
"""What the scripts set when they ask this program how a line may go on."""

# What each asks, and reads, is Typer's. Where nothing is offered, the shell offers files.
_SCRIPTS = {
    "bash": f"""\
_reconciler_completion() {{
    local IFS=$'\\n'
    COMPREPLY=($(env COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD {VARIABLE}=complete_bash "$1"))
}}
complete -o default -F _reconciler_completion reconciler
""",
    "zsh": f"""\
#compdef reconciler
_reconciler_completion() {{
    eval "$(env _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {VARIABLE}=complete_zsh reconciler)"
}}
compdef _reconciler_completion reconciler
""",
}


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """For `autocompletion`: those of these words that begin as the person has typed."""

    def begun(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return begun


def account_names(incomplete: str) -> list[str]:
    """For `autocompletion`: the accounts in the settings; none where these cannot be read."""
    from worker.settings import SettingsError, load_settings

    try:
        return one_of(load_settings().accounts)(incomplete)
    except SettingsError:
        return []


def revision_names(incomplete: str) -> list[str]:
    """For `autocompletion`: the revisions that this release knows."""
    from worker.database.migrations import BASE
    from worker.database.revisions import revisions

    return one_of([BASE, *revisions()])(incomplete)


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that the script is for.")]) -> None:
    """Print a script that completes commands, options and their values when Tab is pressed.

    For your own shell, add the first line below to ~/.bashrc, or the second one to ~/.zshrc, after compinit. The
    program has to be on the PATH under its own name.

    Examples:
      eval "$(reconciler completion bash)"
      eval "$(reconciler completion zsh)"
      reconciler completion bash > /etc/bash_completion.d/reconciler
    """
    typer.echo(_SCRIPTS[shell], nl=False)


def prepare_completion() -> None:
    """Where a script asks how a line may go on, have Typer answer in the form that the script reads."""
    if VARIABLE in os.environ:
        # It registers Typer's answers in place of Click's.
        get_completion_inspect_parameters()
