"""Arguments and options that several commands take."""

from typing import Annotated

from typer import Argument, Option

AsJson = Annotated[bool, Option("--json", help="Print JSON, and nothing else, on standard output.")]
Account = Annotated[str, Option(help="The account that the orders belong to.")]

_REF_HELP = "A request_id or a custom_parm; or id:N, by the row's id, which needs no --account."
Reference = Annotated[str, Argument(metavar="REF", help=_REF_HELP)]
References = Annotated[list[str], Argument(metavar="REF...", help=_REF_HELP)]
