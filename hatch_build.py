"""What is made when the project is built or installed.

The compiled catalogues of words, which the wheel holds, and the messages that they translate; the version between
releases; and the description on a package index: README.md, where no link is relative to a file beside it.
"""

import ast
import os
import re
import tomllib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

BASE_URL = "RECONCILER_RELEASE_BASE_URL"
"""The environment's variable with the address under which the release's files are shown, with a slash at its end."""

_PLACE = re.compile(r"%\(\w+\)s")
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


def messages_of_code(
    source: BinaryIO, keywords: Collection[str], *_: object, **__: object
) -> Iterator[tuple[int, str, list[str | None], list[str]]]:
    """What Python code calls by one of these names, with the texts among its arguments, as Babel takes them.

    What is only a place, such as %(why)s, is no message. Babel's own extractor takes other texts for messages, too.
    """
    for node in ast.walk(ast.parse(source.read())):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in keywords:
            yield node.lineno, name, [_message(argument) for argument in node.args], []


def _message(argument: ast.expr) -> str | None:
    text = argument.value if isinstance(argument, ast.Constant) else None
    return text if isinstance(text, str) and not _PLACE.fullmatch(text) else None


def messages_of_catalogue(source: BinaryIO, *_: object, **__: object) -> Iterator[tuple[int, None, str, list[str]]]:
    """The messages of `worker/words/catalogue.toml`, as Babel takes them."""
    return ((0, None, message, []) for message in _texts_in(tomllib.load(source)))


def _texts_in(held: Any) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    else:
        for one in held.values() if isinstance(held, dict) else held:
            yield from _texts_in(one)


def described(readme: str, base_url: str) -> str:
    """The text with its relative links made absolute; without a base URL they become their text, and images go."""

    def absolute(link: re.Match[str]) -> str:
        return f"{link['image']}[{link['text']}]({base_url}{link['target']})"

    def plain(link: re.Match[str]) -> str:
        return "" if link["image"] else link["text"]

    return _RELATIVE_LINK.sub(absolute if base_url else plain, readme)
