"""deploy/redis/users.acl as an operator has edited it: with the hash of a password for each user."""

import re
from hashlib import sha256
from pathlib import Path

import worker

FILE = Path(worker.__file__).parents[1] / "deploy/redis/users.acl"
PASSWORDS = {"admin": "choose-a-third", "reconciler": "choose-one", "billing": "choose-another"}


def edited() -> str:
    """The text with the hashes of these passwords."""

    def hashed(placeholder: re.Match[str]) -> str:
        return f"#{sha256(PASSWORDS[placeholder[1]].encode()).hexdigest()}"

    return re.sub(r"#(\w+)-sha256", hashed, FILE.read_text("utf-8"))
