"""Masking a query's credentials in what is stored of its answer: a platform, or a proxy, may echo the request."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from worker.adapters.log_redaction import MASK, Redactor
from worker.domain.records.query_errors import QueryError
from worker.domain.records.reports import Answer, Report
from worker.domain.wire.signed_requests import Credentials, WireRequest

# So many characters of a secret that is cut short at the end of an excerpt may stay: they do not help anybody, and
# shorter matches are often chance.
_HARMLESS = 7
_FREE_FIELDS = ("remark", "fault", "words")
_NAMED_FIELDS = ("request_id", "custom_parm", "app_id", "mobile", "traffic_sts", "ori_amount")


class Mask:
    """Masks the token, the signature and the Authorization value of one request in the texts that are kept."""

    def __init__(self, credentials: Credentials, request: WireRequest) -> None:
        signature = request.url.rpartition("Sign=")[2]
        secrets = {credentials.auth_token, signature, request.headers["Authorization"]}
        self._redactor = Redactor(secrets)
        self._secrets = tuple(secret.casefold() for secret in secrets)
        # Longest first, so that all that is left of a secret is masked.
        self._beginnings = tuple(
            sorted(
                {secret[:length] for secret in self._secrets for length in range(_HARMLESS + 1, len(secret))},
                key=len,
                reverse=True,
            )
        )

    def text(self, text: str) -> str:
        """The text without the credentials, never longer than it was."""
        masked = self._redactor.text(text)
        end = masked[-max(map(len, self._secrets)) :].casefold()
        if end.endswith(self._beginnings):
            cut_short = next(beginning for beginning in self._beginnings if end.endswith(beginning))
            masked = masked[: -len(cut_short)] + MASK
        return masked[: len(text)]

    def answer(self, answer: Answer) -> Answer:
        """The answer, masked. Ids, results and amounts stay as they were said, but for one that holds a credential:
        its item cannot be believed.
        """
        reports = [report for said in answer.said.values() for report in said]
        if self._shows_nothing([*reports, *answer.added]):
            return replace(answer, excerpt=self.text(answer.excerpt))
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

    def _shows_nothing(self, reports: Sequence[Report]) -> bool:
        """Whether nothing in any of them is to be masked: tested for all at once, as that is nearly always so."""
        texts = [getattr(report, name) for report in reports for name in (*_NAMED_FIELDS, *_FREE_FIELDS)]
        together = "\n".join(text for text in texts if text is not None)
        folded = together.casefold()
        # The first characters find a whole secret as well as one that the end of a text cuts short.
        is_free_of_secrets = not any(secret[: _HARMLESS + 1] in folded for secret in self._secrets)
        return is_free_of_secrets and self._redactor.text(together) == together

    def _report(self, report: Report) -> Report:
        spoilt: dict[str, Any] = {name: MASK for name in _NAMED_FIELDS if self._holds_credential(getattr(report, name))}
        masked = replace(
            report,
            remark=self._optional(report.remark),
            fault=self._optional(report.fault),
            words=self.text(report.words),
        )
        return (
            replace(masked, fault=masked.fault or "it repeats a credential of the query", **spoilt)
            if spoilt
            else masked
        )

    def _holds_credential(self, text: str | None) -> bool:
        return text is not None and any(secret in text.casefold() for secret in self._secrets)

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)
