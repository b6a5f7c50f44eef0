"""Serve the style sheets, the scripts and the icon. The name of each file changes with its contents, so that a browser
may keep the file for good.

The files are compressed once, when the process starts. Pages are not compressed: if a page has both a searched text and
the token of a form, its compressed length would reveal the token (the attack BREACH).
"""

import gzip
from hashlib import sha256
from importlib.resources import files
from mimetypes import guess_type

from flask import Blueprint, Response, abort, request

_HASH_LENGTH = 12
_KEPT = "public, max-age=31536000, immutable"


def add_static_files(routes: Blueprint) -> None:
    """Serve the files of the folder `static`; `url_for("console.static", filename="console.css")` gives their names."""
    bodies = {file.name: file.read_bytes() for file in (files(__package__) / "static").iterdir()}
    names = {name: _hashed(name, body) for name, body in bodies.items()}
    held = {names[name]: (body, gzip.compress(body, mtime=0)) for name, body in bodies.items()}

    @routes.app_url_defaults
    def name_with_hash(endpoint: str, values: dict[str, object]) -> None:
        if endpoint == f"{routes.name}.static":
            values["filename"] = names[str(values["filename"])]

    @routes.get("/static/<filename>")
    def static(filename: str) -> Response:
        if filename not in held:
            abort(404)
        plain, compressed = held[filename]
        is_compressed = request.accept_encodings.quality("gzip") > 0
        answer = Response(compressed if is_compressed else plain, mimetype=guess_type(filename)[0])
        answer.headers.update({"Cache-Control": _KEPT, "Vary": "Accept-Encoding"})
        if is_compressed:
            answer.content_encoding = "gzip"
        return answer


def _hashed(name: str, body: bytes) -> str:
    stem, _, kind = name.rpartition(".")
    return f"{stem}.{sha256(body).hexdigest()[:_HASH_LENGTH]}.{kind}"
