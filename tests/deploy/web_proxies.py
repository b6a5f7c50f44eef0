"""nginx and Caddy with the files of deploy/, before two programs `reconciler serve`, and their clients.

Of the files only these are replaced: where they listen, the addresses of `serve`, the paths of certificates and logs.
"""

import http.client
import re
import signal
import socket
import ssl
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import make_certificate
from tests.support.installation import ROOT
from tests.support.needed import needed
from tests.support.server_process import ServerProcess, free_port

CALLBACKS, CONSOLE = "callbacks.example.com", "console.example.com"
"""The hosts of the files."""
OTHER = "other.example.com"
"""A host of the same proxy that is not ours, and that has logs."""
NGINX_FILES = sorted((ROOT / "deploy/nginx").glob("*.conf"))
CADDYFILE = ROOT / "deploy/caddy/Caddyfile"

_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a proxy has answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str


class WebProxy(ServerProcess):
    """A proxy on ports of its own. `callbacks` and `console` are where `serve` listens: host and port."""

    def __init__(self, name: str, *, callbacks: str, console: str) -> None:
        self._program = needed(name)
        super().__init__(name)
        self._callbacks, self._console = callbacks, console
        self._logs = self._home / "logs"
        self._logs.mkdir()
        self.https_port, self.http_port = free_port(), free_port()

    @property
    @abstractmethod
    def authority(self) -> Path:
        """The file of the authority of its certificates."""

    @property
    @abstractmethod
    def _command(self) -> list[str | Path]:
        """How it is started."""

    def start(self) -> None:
        """Start it and wait until it has the certificates of all hosts. Raises ChildError, with the end of its log."""
        self._process = self._launch(self._command, env={"HOME": str(self._home), "XDG_DATA_HOME": str(self.data)})
        for host in (CALLBACKS, CONSOLE, OTHER):
            self._wait_until_it_answers(lambda host=host: self.connect(host).close(), OSError)  # type: ignore[misc]  # mypy sees no default

    def stop(self) -> None:
        """End it in order: its logs are complete."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with all its processes, of which nginx has several."""
        self.stop()

    @property
    def logged(self) -> str:
        """All that it has written: its output and its logs."""
        return "".join(file.read_text("utf-8", "replace") for file in [self._log, *sorted(self._logs.iterdir())])

    def connect(self, name: str | None, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """A connection from a loopback address, for a host's name (SNI) or for none.

        Raises ssl.SSLError where the proxy has no certificate for it.
        """
        context = ssl.create_default_context(cafile=self.authority)
        context.check_hostname = name is not None
        plain = socket.create_connection(("127.0.0.1", self.https_port), _SECONDS, source_address=(source, 0))
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def request(
        self,
        host: str,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
        source: str = "127.0.0.1",
    ) -> Answer:
        """One request, from a loopback address."""
        connection = http.client.HTTPConnection(host)
        connection.sock = self.connect(host, source)
        try:
            content = iter([body]) if chunked else body
            connection.request(
                method, path, content, {"Connection": "close", **(headers or {})}, encode_chunked=chunked
            )
            answer = connection.getresponse()
            return Answer(status=answer.status, headers=answer.headers, text=answer.read().decode())
        finally:
            connection.close()


class Nginx(WebProxy):
    """nginx, with what newer releases have as default (`defaults`), and with another host's block before ours."""

    def __init__(self, *, callbacks: str, console: str, defaults: str = "") -> None:
        super().__init__("nginx", callbacks=callbacks, console=console)
        self._certificate = make_certificate(self._home, CALLBACKS, CONSOLE, OTHER)
        self._defaults = defaults

    @property
    def authority(self) -> Path:
        """The certificate, which is self-signed."""
        return self._certificate.file

    @property
    def _command(self) -> list[str | Path]:
        return [self._program, "-p", self._home, "-c", "nginx.conf"]

    def _initialise(self) -> None:
        (self._home / "nginx.conf").write_text(_NGINX.format(defaults=self._defaults))
        folder = self._home / "conf.d"
        folder.mkdir()
        for file in NGINX_FILES:
            (folder / file.name).write_text(self._adapted(file.read_text("utf-8")), "utf-8")
        other = _OTHER_OF_NGINX.format(host=OTHER, pair=f"/etc/nginx/{OTHER}")
        (folder / "a-site-that-is-read-first.conf").write_text(self._adapted(other), "utf-8")

    def _adapted(self, text: str) -> str:
        certificate, key = self._certificate.file, self._certificate.key
        replaced = {
            "listen 443": f"listen 127.0.0.1:{self.https_port}",
            "listen 80": f"listen 127.0.0.1:{self.http_port}",
            "listen [::]:443": f"listen [::1]:{self.https_port}",
            "listen [::]:80": f"listen [::1]:{self.http_port}",
            "http://127.0.0.1:8080;": f"http://{self._callbacks};",
            "http://127.0.0.1:8081;": f"http://{self._console};",
            "/var/log/nginx/": f"{self._logs}/",
        }
        for host in (CALLBACKS, CONSOLE, OTHER):
            replaced |= {f"/etc/nginx/{host}.pem": str(certificate), f"/etc/nginx/{host}.key": str(key)}
        return _replaced(text if _has_ipv6() else re.sub(r"listen \[.*;", "", text), replaced)


# As Debian's file has it, but for the level of the errors: all that nginx would ever write.
_NGINX = """
user root;
daemon off;
pid nginx.pid;
error_log logs/error.log info;
events {{
}}
http {{
    access_log logs/access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {defaults}
    include conf.d/*.conf;
}}
"""
_OTHER_OF_NGINX = """
server {{
    listen 443 ssl;
    listen 80;
    server_name {host};
    ssl_certificate {pair}.pem;
    ssl_certificate_key {pair}.key;
}}
"""


class Caddy(WebProxy):
    """Caddy, which makes the certificates of our hosts itself, and another host."""

    def __init__(self, *, callbacks: str, console: str) -> None:
        super().__init__("caddy", callbacks=callbacks, console=console)

    @property
    def authority(self) -> Path:
        """Of Caddy's own authority, which stands in for a public one."""
        return self.data / "caddy/pki/authorities/local/root.crt"

    @property
    def _command(self) -> list[str | Path]:
        return [self._program, "run", "--config", self._home / "Caddyfile"]

    def _initialise(self) -> None:
        options = [
            *("{", "admin off", "local_certs", "skip_install_trust", "default_bind 127.0.0.1"),
            *(f"https_port {self.https_port}", f"http_port {self.http_port}", ""),
        ]
        replaced = {
            "\n{\n": "\n" + "\n".join(options),
            "reverse_proxy 127.0.0.1:8080 ": f"reverse_proxy {self._callbacks} ",
            "reverse_proxy 127.0.0.1:8081 ": f"reverse_proxy {self._console} ",
        }
        text = CADDYFILE.read_text("utf-8")
        (self._home / "Caddyfile").write_text(_replaced(text, replaced) + _OTHER_OF_CADDY.format(host=OTHER), "utf-8")


_OTHER_OF_CADDY = """
https://{host}, http://{host} {{
	log
	respond 404
}}
"""


def _has_ipv6() -> bool:
    addresses = Path("/proc/net/if_inet6")
    return addresses.exists() and " lo\n" in addresses.read_text("ascii")


def _replaced(text: str, by: Mapping[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text
