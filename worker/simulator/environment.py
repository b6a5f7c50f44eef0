"""Where the simulated platform's settings come from: the environment, and `.env` in the working directory.

They are read as the worker reads its own, so that both can share one `.env`: the environment wins over the file, an
empty value counts as not set, and a name may be written in either case.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

ENV_FILE = Path(".env")


class UnreadableFile(ValueError):
    """The file cannot be read; the message says so, and shows nothing of it."""


def read_environment(file: Path = ENV_FILE) -> Mapping[str, str]:
    """Every variable that has a value, by its name in upper case. Raises UnreadableFile."""
    # Here, since it is slow to load, and `reconciler --help` needs none of it.
    from pydantic_settings import BaseSettings, DotEnvSettingsSource

    try:
        in_file = DotEnvSettingsSource(BaseSettings, env_file=file).env_vars
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            f"{file} cannot be read ({type(error).__name__}); accepted: UTF-8 text, one NAME=value a line"
        ) from None
    named = [*in_file.items(), *os.environ.items()]
    return {name.upper(): value for name, value in named if value}


class EnvironmentCommand(TyperCommand):
    """A command whose options with a variable are read from `.env` as well."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; what is not given stands in the environment, in `.env`, or has the option's default.

        An `.env` that cannot be read is left to the command itself to report.
        """
        try:
            known = read_environment()
        except UnreadableFile:
            known = {}
        variables = {option.name: option.envvar for option in self.params if isinstance(option.envvar, str)}
        ctx.default_map = {name: known[variable] for name, variable in variables.items() if name and variable in known}
        return super().parse_args(ctx, args)
