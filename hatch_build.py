"""What is made when the project is built or installed.

The compiled catalogues of words, which the wheel holds; the version between releases; and the description on a package
index: README.md, where no link is relative to a file beside it.
"""

import os
import re
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

BASE_URL = "RECONCILER_RELEASE_BASE_URL"
"""The environment's variable with the address under which the release's files are shown, with a slash at its end."""

_RELATIVE_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<target>[^)]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """hatchling's name for what it looks up here."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description; its links lead to the release's files, or are text where no address is given."""
        readme = Path(self.root, "README.md").read_text("utf-8")
        text = described(readme, os.environ.get(BASE_URL, ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


class CustomBuildHook(BuildHookInterface[Any]):
    """hatchling's name for what it looks up here."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the words, for a wheel and for an editable install alike."""
        compile_words(Path(self.root))


def version(stated: str, root: Path = Path(__file__).parent) -> str:
    """The version of what is built. One that is stated as `.dev` gets a number that is made of the code.

    pip keeps what is installed where the version is the same: so other code has another number. The same code has the
    same one in a checkout, in an sdist and in the build of an image. The last two have no git.
    """
    if not stated.endswith(".dev"):
        return stated
    code = sha256()
    for file in sorted(file for folder in ("worker", "migrations") for file in (root / folder).rglob("*")):
        # Neither compiled words nor Python's cache.
        if file.is_file() and file.suffix != ".mo" and file.parent.name != "__pycache__":
            code.update(f"{file.relative_to(root)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return f"{stated}{int(code.hexdigest()[:6], 16)}"


def compile_words(root: Path) -> None:
    """Write a compiled catalogue beside each that is text; one that is up to date is left alone."""
    for source in root.glob("worker/words/locale/*.po"):
        target, compiled = source.with_suffix(".mo"), compiled_words(source)
        if not target.is_file() or target.read_bytes() != compiled:
            # At once: another process may be reading it.
            made = target.with_suffix(f".{os.getpid()}")
            made.write_bytes(compiled)
            made.replace(target)


def compiled_words(source: Path) -> bytes:
    """A catalogue as gettext reads it: the same bytes for the same text."""
    # Only a build has Babel: a description needs none.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with source.open("rb") as text:
        catalogue = read_po(text, locale=source.stem)
    # Else now.
    catalogue.creation_date = datetime.fromtimestamp(0, UTC)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    return compiled.getvalue()


def described(readme: str, base_url: str) -> str:
    """The text with its relative links made absolute; without a base URL they become their text, and images go."""

    def absolute(link: re.Match[str]) -> str:
        return f"{link['image']}[{link['text']}]({base_url}{link['target']})"

    def plain(link: re.Match[str]) -> str:
        return "" if link["image"] else link["text"]

    return _RELATIVE_LINK.sub(absolute if base_url else plain, readme)
