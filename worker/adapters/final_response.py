"""http.client's response, without the interim answers that may come first."""

import http.client

_MOST_INTERIM = 100


class FinalResponse(http.client.HTTPResponse):
    """Passes over interim answers (RFC 9110, section 15.2) such as `103 Early Hints`; http.client knows 100 alone.

    101 is final: it is sent to who asked to change the protocol, and we never do.
    """

    def begin(self) -> None:
        """Read the head of the final answer. Raises http.client.HTTPException, also for interim answers without end."""
        for _ in range(_MOST_INTERIM):
            super().begin()
            if not 100 < self.status < 200 or self.status == http.client.SWITCHING_PROTOCOLS:
                return
            # http.client reads a head where it has none.
            self.headers = self.msg = None  # type: ignore[assignment]  # typeshed: never None, although it begins so
        raise http.client.HTTPException("interim answers without end")
