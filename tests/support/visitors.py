"""People at the console, as their browsers behave: on this machine, or from another one by https."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from tests.support.pages import web_process
from tests.support.templates import compiled_once
from worker.adapters.users_file import editing
from worker.domain.records.operators import Role, User

PASSWORD = "correct horse battery staple"
QUICK_HASH = generate_password_hash(PASSWORD, method="scrypt:1024:8:1")
"""Of that password, weaker than ours are, so that it is checked in no time."""
READER, ACTOR = "li", "ann"

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


@dataclass
class Visitor:
    """A browser. `address`: where it is."""

    client: FlaskClient
    base_url: str = "https://console.example"
    address: str = "198.51.100.7"
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> TestResponse:
        """Open a page; its headers have dashes for underscores."""
        return self._open("GET", path, {}, headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> TestResponse:
        """Send a form as it is given."""
        return self._open("POST", path, form or {}, headers)

    def csrf(self, path: str = "/") -> str:
        """What the forms of a page carry."""
        found: list[str] = _CSRF.findall(self.get(path).text)
        assert found, f"no form on {path} carries a token"
        # Of somebody who has signed in, the head of the page has a form, too.
        return found[-1]

    def sign_in(self, name: str, password: str = PASSWORD, **form: str) -> TestResponse:
        """Fill in the form of the sign-in, and send it."""
        return self.post("/sign-in", {"csrf": self.csrf("/sign-in"), "name": name, "password": password, **form})

    def cookie(self, name: str) -> Any:
        """A cookie that the browser has kept, or None."""
        host = self.base_url.partition("://")[2].partition(":")[0]
        return self.client.get_cookie(name, domain=host)

    def _open(self, method: str, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
        return self.client.open(
            path,
            method=method,
            data=form if method == "POST" else None,
            base_url=self.base_url,
            headers=sent,
            # A file that is sent is closed.
            buffered=True,
            environ_overrides={"REMOTE_ADDR": self.address},
        )


@dataclass
class ConsoleProcess:
    """One process that serves, and those who visit it."""

    app: Flask

    def visitor(self, address: str = "198.51.100.7") -> Visitor:
        """Somebody at another machine, whose browser has no cookies yet."""
        return Visitor(self.app.test_client(), address=address)

    def local(self) -> Visitor:
        """Somebody on this machine."""
        return Visitor(self.app.test_client(), base_url="http://localhost:8080", address="127.0.0.1")

    def signed_in(self, name: str) -> Visitor:
        """Somebody at another machine, who has signed in."""
        visitor = self.visitor()
        assert visitor.sign_in(name).status_code == 303
        return visitor


@contextmanager
def console_process(database_url: str, users_file: Path | None, **settings: Any) -> Iterator[ConsoleProcess]:
    """A process that serves all but callbacks."""
    with web_process(database_url, users_file=users_file, **settings) as process:
        yield ConsoleProcess(compiled_once(process.app()))


def write_users(path: Path, users: Mapping[str, Role] | None = None) -> Path:
    """A file with these users, by default one of each role, with the same password."""
    with editing(path) as written:
        for name, role in (users or {READER: Role.READ, ACTOR: Role.ACT}).items():
            written[name] = User(name=name, password_hash=QUICK_HASH, role=role)
    return path
