"""Errors as a person at a terminal sees them: one line that says what to do, and an exit status."""


class CommandError(Exception):
    """A command could not do what it was asked to; `str()` is one line that says what to do about it."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
