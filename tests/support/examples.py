"""How many examples the long random tests try: `RECONCILER_TEST_EXAMPLES=20 make test` tries twenty times as many."""

import os

TIMES = max(1, int(os.environ.get("RECONCILER_TEST_EXAMPLES") or 1))
"""A factor, 1 unless the environment says otherwise."""


def examples(usual: int) -> int:
    """The number of examples, given the number that `make test` has time for."""
    return usual * TIMES


def seconds(usual: int) -> int:
    """A test's timeout in seconds, multiplied by the same factor."""
    return usual * TIMES
