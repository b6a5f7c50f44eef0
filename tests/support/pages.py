"""The console's pages as somebody on this machine reads them, in either language."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.command_line import settings_of_account
from tests.support.templates import compiled_once
from worker.domain.records.operators import Part
from worker.web.app import WebProcess

KEY = "the-key-of-these-pages"
_LOCAL = "http://localhost:8080"
_SHOWN = re.compile(r"<main.*</main>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class Pages:
    """A browser on this machine."""

    client: FlaskClient

    def open(self, path: str, language: str = "en", **headers: str) -> TestResponse:
        """The answer to a request, whatever it is."""
        sent = {"Accept-Language": language, "Accept": "text/html", **headers}
        return self.client.get(path, base_url=_LOCAL, headers=sent)

    def markup(self, path: str, language: str = "en", status: int = 200) -> str:
        """The page as it is sent. Fails on another status."""
        answer = self.open(path, language)
        assert answer.status_code == status, f"{path}: {answer.status}"
        return answer.text

    def text(self, path: str, language: str = "en", status: int = 200) -> str:
        """What its reader sees of it, below the navigation: words with single blanks between them."""
        found = _SHOWN.search(self.markup(path, language, status))
        assert found, f"{path} has no content"
        return " ".join(unescape(_TAG.sub(" ", found[0])).split())

    def csv(self, path: str) -> list[list[str]]:
        """The rows of a list's file, its header first."""
        answer = self.open(path)
        assert answer.mimetype == "text/csv"
        assert answer.data.startswith(b"\xef\xbb\xbf")
        return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))

    def link(self, path: str, words: str) -> str | None:
        """Where the first link with these words leads; None where the page has none."""
        return next(iter(self.links(path, words)), None)

    def links(self, path: str, words: str, language: str = "en") -> list[str]:
        """Where each link with these words leads."""
        wanted = rf'<a[^>]*href="([^"]*)"[^>]*>\s*{re.escape(words)}\s*</a>'
        return [unescape(found) for found in re.findall(wanted, self.markup(path, language))]


@contextmanager
def web_process(url: str, *, console_key: str | None = KEY, **settings: Any) -> Iterator[WebProcess]:
    """A process that serves all but callbacks, on this database."""
    process = WebProcess(settings_of_account(url, **settings), frozenset({Part.OPERATE}), console_key=console_key)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def pages_of(url: str, **settings: Any) -> Iterator[Pages]:
    """The pages of such a process."""
    with web_process(url, **settings) as process:
        client = compiled_once(process.app()).test_client()
        client.set_cookie("key", KEY, domain="localhost")
        yield Pages(client)
