"""The file that refused lines are written to, with reasons."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from worker.adapters.private_files import make_private
from worker.cli.errors import CommandError
from worker.cli.order_lines import Line


class RefusedLines:
    """JSON Lines: `line` (its number), `text`, `errors`. The file is made, or replaced, with the first refused line.

    A file that is made is its owner's alone: the lines hold customers' numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def add(self, line: Line, errors: Sequence[str]) -> None:
        """Write a line. Raises CommandError where that cannot be done."""
        record = {"line": line.number, "text": line.text, "errors": list(errors)}
        try:
            if self._file is None:
                make_private(self.path)
                self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._cannot(error) from None
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as fault:
            # A full disk may show only now.
            raise self._cannot(fault) from None

    def _cannot(self, error: OSError) -> CommandError:
        return CommandError(f"{self.path} cannot be written ({error.strerror}): choose another place with --rejected")
