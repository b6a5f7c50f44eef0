"""The proxies of docs/deployment.md hand on no path that holds a token, but to the receiver of callbacks."""

import re
from pathlib import Path

import worker

DOCUMENT = (Path(worker.__file__).parents[1] / "docs/deployment.md").read_text("utf-8")
NGINX = re.findall(r"^```nginx\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
CADDY = re.findall(r"^```caddy\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SILENT = ("access_log off;", "error_log /dev/null;")


def servers(text: str) -> list[str]:
    return [one for one in re.split(r"^(?=server \{)", text, flags=re.MULTILINE) if one.startswith("server {")]


def test_a_request_that_names_none_of_our_hosts_is_refused_in_silence() -> None:
    (default,) = [one for text in NGINX for one in servers(text) if "default_server" in one]
    assert "ssl_reject_handshake on;" in default
    assert all(line in default for line in SILENT)
    assert "proxy_pass" not in default
    # nginx takes the first block where none is the default.
    assert servers(NGINX[0])[0] == default


def test_the_hosts_of_callbacks_and_of_the_console_write_no_path_of_a_callback() -> None:
    callbacks, console = (one for text in NGINX for one in servers(text) if "default_server" not in one)
    assert all(line in callbacks.partition("location")[0] for line in SILENT)
    found = re.search(r"location /callbacks/ \{(.*?)\}", console, re.DOTALL)
    assert found
    assert [line.strip() for line in found[1].strip().splitlines()] == [*SILENT, "return 404;"]


def test_the_caddyfiles_refuse_callbacks_at_the_console_and_name_the_least_version() -> None:
    callbacks, console = CADDY
    assert re.search(r"@inside path .*/callbacks/\*", console)
    assert "2.6.4" in callbacks
    assert callbacks.index("2.6.4") < callbacks.index("\t\t\trequest_buffers 64KiB")
