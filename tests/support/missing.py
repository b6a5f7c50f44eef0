"""Programs in which modules are missing, as where they are not installed."""

import sys
from collections.abc import Collection

_HIDE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
hidden = set(HIDDEN)
sys.meta_path.insert(0, Missing())
"""


def without(modules: Collection[str], code: str) -> list[str]:
    """The command of a program of Python that runs this code, and in which these top-level modules are missing.

    What a test runner has loaded into the program before its first line stays.
    """
    return [sys.executable, "-c", _HIDE.replace("HIDDEN", repr(sorted(modules))) + code]
