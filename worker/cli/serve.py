"""`reconciler serve` and `callback-url`: run the HTTP server, and print the path of the platform's callbacks."""

import secrets
import socket
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from worker.adapters.log import configure_logging, log_version
from worker.adapters.text_files import os_words
from worker.cli.app import CommandError
from worker.cli.output import in_words, warn
from worker.cli.session import check_database, read_settings, require_configured, web_packages
from worker.doctor.files_and_hosts import console_check
from worker.doctor.finding import Status
from worker.domain.records.operators import Part
from worker.domain.records.sentences import Sentence, _
from worker.domain.tokens_and_sign_ins import callback_path, is_loopback_name
from worker.settings import Settings

_TOKEN_BYTES = 24
# If a server listens on all addresses, a browser cannot open its URL. A URL that works on this machine replaces it.
_LOOPBACK = {"http://0.0.0.0:": "http://127.0.0.1:", "http://[::]:": "http://[::1]:"}


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)]
Workers = Annotated[int, typer.Option(help="Processes, each with 16 threads.", min=1, max=100)]
Only = Annotated[
    Part | None,
    typer.Option(
        help="Serve this part alone: `callbacks`, which is what stands on a public port, or all but that, `operate`."
    ),
]
Account = Annotated[str, typer.Argument(help="The account whose callbacks come there.")]


def serve(host: Host = "127.0.0.1", port: Port = 8080, workers: Workers = 2, only: Only = None) -> None:
    """Receive the platform's callbacks over HTTP at the path that `reconciler callback-url` prints; serve the console
    at /, and metrics and health for monitoring.

    A callback is answered with status 200 once it is committed. GET /livez tells whether the process answers, GET
    /readyz whether it can take in callbacks, and GET /healthz whether a worker, the broker and the database work.
    People sign in at the console (`reconciler user add`). Without RECONCILER_USERS_FILE, the console opens at the
    printed address, which has a new key at each start. SIGTERM or Ctrl-C lets requests under way end.

    Examples:
      reconciler serve
      reconciler serve --port 8080 --workers 2 --only callbacks
    """
    with web_packages():
        from worker.web.app import WebProcess
        from worker.web.console.files import Downloads
        from worker.web.server import Server
    settings = read_settings(needs_accounts=True)
    check_database(settings)
    _check_address(host, port)
    parts = frozenset(Part) if only is None else frozenset({only})
    for warning in _warnings(settings, host, parts):
        warn("%(what)s", warning)
    # Make the key before the server forks its processes, because all of them use the same key.
    key = secrets.token_urlsafe(_TOKEN_BYTES) if Part.OPERATE in parts and settings.users_file is None else None
    hidden = (*settings.secrets, key) if key else settings.secrets
    configure_logging(settings.log_level, settings.log_format, zone=settings.zone, secrets=hidden)
    log_version()
    Server(
        settings,
        host=host,
        port=port,
        workers=workers,
        parts=parts,
        make_process=partial(WebProcess, console_key=key, downloads=Downloads()),
        when_listening=lambda url: _print_address(url, key) if key else None,
    ).run()


def callback_url(account: Account = "default") -> None:
    """Print the path to which the platform posts an account's callbacks; make a token if the account has none.

    Put the host name of your proxy before the path, and give the whole URL to the platform. The path is a secret.

    Examples:
      reconciler callback-url
      reconciler callback-url shop
    """
    settings = read_settings(needs_accounts=True)
    require_configured(settings, [account])
    tokens = settings.callback_tokens.get(account, ())
    for token in tokens:
        typer.echo(callback_path(account, token))
    if tokens:
        return
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    typer.echo(callback_path(account, token))
    typer.echo(in_words(_how_to_set(account, token, settings)), err=True)


def _check_address(host: str, port: int) -> None:
    """Raise CommandError if the server cannot listen at this address. Without this check, gunicorn would try for five
    seconds and log ten lines."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As in gunicorn, a port counts as free even if one of its connections has just ended.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = os_words(error)
            raise CommandError(
                "cannot listen on %(host)s, port %(port)s: %(why)s; choose another --host or --port", host, port, why
            ) from None


def _print_address(url: str, key: str) -> None:
    note = ""
    for everywhere, here in _LOOPBACK.items():
        if url.startswith(everywhere):
            # Do not print an address for other machines. A browser there could not sign in with it, because a browser
            # keeps the key only over https or on loopback.
            url, note = url.replace(everywhere, here), "  (on this machine, or from another by ssh -L)"
    typer.echo(f"Console: {url}/sign-in?key={key}{note}")


def _how_to_set(account: str, token: str, settings: Settings) -> Sentence:
    in_file = settings.accounts_file is not None and account in settings.accounts_file.accounts
    in_table = _("callback_token in the table %(table)s of the accounts file", f"[{account}]")
    where = in_table if in_file else "RECONCILER_CALLBACK_TOKEN"
    return _("The path works once %(where)s is %(token)s, and `reconciler serve` was started after that.", where, token)


def _warnings(settings: Settings, host: str, parts: frozenset[Part]) -> Iterator[Sentence]:
    is_open = not is_loopback_name(host)
    if Part.CALLBACKS in parts and not settings.callback_tokens:
        yield _("no account has a token, so every callback is answered 404: see `reconciler callback-url`")
    if is_open:
        yield _(
            "%(host)s can be reached from other machines: a proxy that buffers requests has to stand before"
            " it, or slow senders take all threads; docs/deployment.md has nginx and Caddy",
            host,
        )
    if Part.OPERATE in parts:
        yield from _warnings_of_console(settings, is_open)


def _warnings_of_console(settings: Settings, is_open: bool) -> Iterator[Sentence]:
    if is_open:
        yield _(
            "this program speaks plain http, and people sign in at the console over https only: the proxy has to have"
            " the certificate"
        )
    if settings.users_file is None and is_open:
        yield _(
            "there is no user who could sign in at the console: set RECONCILER_USERS_FILE, then `reconciler user"
            " add`; until then the address that is printed opens it"
        )
    check = console_check(settings.users_file)
    if check.status is Status.WARNING:
        yield check.sentence
