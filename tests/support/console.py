"""The console as a person with a browser sees it, without a browser and without a server."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import unquote

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.command_line import settings_of_account
from tests.support.templates import compiled_once
from worker.database.transactions import Database
from worker.domain.records.operators import Role, Viewer
from worker.settings import Settings
from worker.web.access import Access
from worker.web.console.blueprint import Console, console_routes

READER = Viewer(name="bob", role=Role.READ)
ANN = Viewer(name="ann", role=Role.ACT)


class KnownViewer(Access):
    """Lets in one viewer, who has signed in before."""

    def __init__(self, settings: Settings, database: Database, viewer: Viewer) -> None:
        super().__init__(settings, database)
        self._viewer = viewer

    def viewer(self) -> Viewer:
        """Who looks."""
        return self._viewer

    def token(self) -> str:
        """The token of their sign-in."""
        return "the-token-of-a-sign-in"


@contextmanager
def console_of(url: str, viewer: Viewer = ANN, **settings: Any) -> Iterator[FlaskClient]:
    """The pages of a database, as this viewer sees them."""
    known = settings_of_account(url, **settings)
    database = Database(url, pool_size=2)
    app = Flask(__name__, static_folder=None)
    console = Console(settings=known, database=database, access=KnownViewer(known, database, viewer))
    app.register_blueprint(console_routes(console))
    yield compiled_once(app).test_client()
    console.close()
    database.close()


def hidden_fields(html: str) -> dict[str, str]:
    """What the forms of a page send along unseen."""
    pattern = r'<input type="hidden" name="([^"]+)" value="([^"]*)">'
    return {name: unescape(value) for name, value in re.findall(pattern, html)}


def press(client: FlaskClient, path: str, *, confirmed: bool = True, **typed: str) -> TestResponse:
    """Open the page of an act, type into its form and press its button."""
    page = client.get(path)
    assert page.status_code == 200, page.text
    return send(client, path, page.text, confirmed=confirmed, **typed)


def send(client: FlaskClient, path: str, html: str, *, confirmed: bool = True, **typed: str) -> TestResponse:
    """Send the form of a page that was opened before."""
    button = {"confirmed": "yes"} if confirmed else {}
    return client.post(path, data={**hidden_fields(html), **typed, **button})


def said_after(answer: TestResponse) -> dict[str, Any]:
    """What the next page says of an act that was done."""
    assert answer.status_code == 303, answer.text
    (cookie,) = (value for value in answer.headers.getlist("Set-Cookie") if value.startswith("done="))
    said: dict[str, Any] = json.loads(unquote(cookie.removeprefix("done=").split(";")[0]))
    return said
