"""What `reconciler serve` serves, and who looks at it."""

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """A part of the web program, which `--only` may leave alone."""

    CALLBACKS = "callbacks"
    OPERATE = "operate"
    """Metrics, health and the console."""


class Role(StrEnum):
    """What a user of the console may do."""

    READ = "read"
    ACT = "act"
    """Read, and act."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Who looks at the console."""

    name: str | None
    """None: one with the key that `serve` has printed, where there is no file of users."""
    role: Role = Role.READ

    @property
    def may_act(self) -> bool:
        """Whether they may change anything."""
        return self.name is not None and self.role is Role.ACT
