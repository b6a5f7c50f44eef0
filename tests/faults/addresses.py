"""The addresses of `localhost`, as a scenario sets them for the worker's processes."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NAME = "localhost"


def write_addresses(folder: Path, addresses: Sequence[str]) -> None:
    """From now on `localhost` has these addresses, in this order."""
    draft = folder / "addresses.draft"
    draft.write_text(" ".join(addresses))
    draft.rename(_file(folder))


def resolve_by(folder: Path) -> None:
    """Let this process find what the scenario has written; everything else is found as ever."""
    known = socket.getaddrinfo

    def find(host: str | None, *arguments: Any, **named: Any) -> list[Any]:
        if host != _NAME or not _file(folder).exists():
            return known(host, *arguments, **named)
        return [found for address in _file(folder).read_text().split() for found in known(address, *arguments, **named)]

    socket.getaddrinfo = find  # type: ignore[assignment]  # typeshed names each parameter


def _file(folder: Path) -> Path:
    return folder / f"{_NAME}.addresses"
