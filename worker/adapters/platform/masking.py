"""Keeping one query's credentials out of what is stored of its answer: a platform, or a proxy, may echo the request."""

from dataclasses import replace

from worker.adapters.redaction import MASK, Redactor
from worker.domain.query_errors import QueryError
from worker.domain.reports import Answer, Report
from worker.domain.wire.requests import WireRequest
from worker.domain.wire.signature import Credentials

# Of a secret that an excerpt's end cuts short, this much may stay: too little to help, and shorter ends are often
# chance.
_HARMLESS = 7


class Mask:
    """Masks the token, the signature and the Authorization value of one request in the texts that are kept."""

    def __init__(self, credentials: Credentials, request: WireRequest) -> None:
        signature = request.url.rpartition("Sign=")[2]
        header = request.headers["Authorization"]
        # Signatures are written in either case, and many JSON writers escape the slash.
        secrets = {
            credentials.auth_token,
            signature,
            signature.lower(),
            header,
            header.replace("/", "\\/"),
        }
        self._redactor = Redactor(secrets)
        # Longest first, so that the whole of what was left is taken.
        self._beginnings = tuple(
            sorted(
                {secret[:length] for secret in secrets for length in range(_HARMLESS + 1, len(secret))},
                key=len,
                reverse=True,
            )
        )

    def text(self, text: str) -> str:
        """The text without the credentials, never longer than it was."""
        masked = self._redactor.text(text)
        if masked.endswith(self._beginnings):
            cut_short = next(beginning for beginning in self._beginnings if masked.endswith(beginning))
            masked = masked.removesuffix(cut_short) + MASK
        return masked[: len(text)]

    def answer(self, answer: Answer) -> Answer:
        """The answer with its free texts masked; ids, results and amounts stay as they were said."""
        return replace(
            answer,
            said={identity: tuple(map(self._report, reports)) for identity, reports in answer.said.items()},
            added=tuple(map(self._report, answer.added)),
            excerpt=self.text(answer.excerpt),
        )

    def error(self, error: QueryError) -> QueryError:
        """The same error, masked, and without the frames and the context that lead back to the request."""
        error.args = (self.text(str(error)),)
        error.excerpt = self.text(error.excerpt)
        error.status_code = self._optional(error.status_code)
        error.status_msg = self._optional(error.status_msg)
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    def _report(self, report: Report) -> Report:
        return replace(
            report,
            remark=self._optional(report.remark),
            fault=self._optional(report.fault),
            words=self.text(report.words),
        )

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)
