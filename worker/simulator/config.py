"""Everything that can be chosen about a simulated platform."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from worker.simulator.accounts import Account
from worker.simulator.answers import AnswerStyle
from worker.simulator.delays import Delay
from worker.simulator.faults import Faults
from worker.simulator.truth import Draws


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorConfig:
    """The platform's settings. Durations in seconds, shares from 0 to 1."""

    accounts: tuple[Account, ...]
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    version: str = "201512"
    window_seconds: float = 60.0
    queries_per_window: int = 1
    timestamp_ahead_seconds: float = 300.0
    """How far a signature's timestamp may lie in the platform's future; behind it, 24 hours are documented."""
    seed: int = 1
    adopt: bool = False
    """Take ids never heard of for orders placed at that moment, whose truth is drawn from the seed and the id."""
    delay: Delay = field(default_factory=lambda: Delay.parse("lognormal:10,0.8"))
    """From an order's placing to its settling."""
    failed_share: float = 0.05
    stuck_share: float = 0.0
    """Orders that never settle."""
    lost_share: float = 0.0
    """Callbacks that are never pushed."""
    callback_delay: Delay = field(default_factory=lambda: Delay.parse("fixed:0"))
    """From an order's settling to its callback."""
    answers: AnswerStyle = field(default_factory=AnswerStyle)
    faults: Faults = field(default_factory=Faults)
    record_path: Path | None = None
    """A file that every arrival is appended to, as one line of JSON, once its answer is settled on."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if not 0 < self.window_seconds < math.inf or self.queries_per_window < 1:
            raise ValueError("the window must be longer than 0 s and allow at least 1 query")
        shares = (self.failed_share, self.stuck_share, self.lost_share, self.failed_share + self.stuck_share)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("shares must be from 0 to 1, and failed and stuck orders together at most 1")
        if self.delay.kind == "alternate" or self.callback_delay.kind == "alternate":
            raise ValueError("alternate is a latency; orders and callbacks take another distribution")

    @property
    def draws(self) -> Draws:
        """The distributions that orders are drawn from."""
        return Draws(
            seed=self.seed,
            delay=self.delay,
            failed_share=self.failed_share,
            stuck_share=self.stuck_share,
            lost_share=self.lost_share,
        )
