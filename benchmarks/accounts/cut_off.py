"""What cuts the last host off, or has an account refused everywhere."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from benchmarks.accounts.plan import Plan
from benchmarks.accounts.testbed import write_accounts

KINDS = ("unreachable", "refused", "old-token", "one-account", "everywhere")
_REFUSAL = json.dumps({"statusCode": "-205", "statusMsg": "refused", "requestId": ""}).encode()


@contextmanager
def settings_of_last_host(plan: Plan, folder: Path) -> Iterator[dict[str, str]]:
    """The variables that the last host has and the others have not."""
    if plan.cut_off in ("old-token", "one-account"):
        path = folder / "old.toml"
        write_accounts(plan, path, old=plan.accounts if plan.cut_off == "old-token" else 1)
        yield {"RECONCILER_ACCOUNTS_FILE": str(path)}
    elif plan.cut_off == "unreachable":
        with socket.create_server(("127.0.0.1", 0)) as line:
            port = line.getsockname()[1]
        # Nothing listens there any more.
        yield {"RECONCILER_PLATFORM_URL": f"http://127.0.0.1:{port}"}
    elif plan.cut_off == "refused":
        with _refusing() as server:
            yield {"RECONCILER_PLATFORM_URL": f"http://127.0.0.1:{server.server_port}"}
    else:
        yield {}


@contextmanager
def _refusing() -> Iterator[ThreadingHTTPServer]:
    """A platform that refuses every query by -205."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(_REFUSAL)))
            self.end_headers()
            self.wfile.write(_REFUSAL)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
