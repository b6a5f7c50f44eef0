"""A real Prometheus of a test's own, and promtool: Debian's packages `prometheus` and `promtool`."""

import json
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.needed import needed
from tests.support.server_process import ServerProcess, free_port

_CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: [rules.yml]
scrape_configs:
  - job_name: reconciler
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: ["{target}"]}}]
"""


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What promtool says, with this text as its standard input. Raises AssertionError where it finds a fault."""
    command = [needed("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus(ServerProcess):
    """Scrapes one target, and evaluates rules, every second."""

    def __init__(self, target: str, *, token: str, rules: str) -> None:
        """`target` is host and port; `rules` is the text of a file of rules."""
        self._program = needed("prometheus")
        super().__init__("prometheus")
        self._target, self._token, self._rules = target, token, rules
        self._port = free_port()

    def _initialise(self) -> None:
        (self._home / "prometheus.yml").write_text(_CONFIG.format(target=self._target, token=self._token), "utf-8")
        (self._home / "rules.yml").write_text(self._rules, "utf-8")

    def start(self) -> None:
        """Start it on its data and wait until it answers. Raises ChildError, with the end of its log."""
        options = {
            "config.file": self._home / "prometheus.yml",
            "storage.tsdb.path": self.data,
            "web.listen-address": f"127.0.0.1:{self._port}",
        }
        self._process = self._launch([self._program, *(f"--{name}={value}" for name, value in options.items())])
        self._wait_until_it_answers(lambda: self._get("/api/v1/status/buildinfo", {}), OSError)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression evaluates to now. Raises HTTPError where it is wrong."""
        result: list[dict[str, Any]] = self._get("/api/v1/query", {"query": expression})["result"]
        return result

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        found = self._get("/api/v1/alerts", {})["alerts"]
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    def _get(self, path: str, given: Mapping[str, str]) -> Any:
        url = f"http://127.0.0.1:{self._port}{path}?{urlencode(given)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
