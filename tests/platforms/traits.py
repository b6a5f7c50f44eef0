"""The habits of one random platform. All of them follow from the seed; times are in windows since the start."""

from dataclasses import dataclass
from random import Random

from tests.platforms import wording

STATUSES = ("400", "403", "404", "414", "500", "502", "504")
UNREADABLE = ("page", "cut", "empty body", "empty object", "reset", "timeout")
OUTAGES = (*STATUSES, "503", "401", *UNREADABLE, "unreachable", "unreachable", "error object")
SHAPES = ("list", "list", "wrapped", "result", "keyed", "keyed in data", "object")
CHARSETS = (
    ("utf-8", None),
    ("utf-8", "application/json"),
    ("utf-8", "application/json;charset=utf-8"),
    ("utf-8-sig", "application/json"),
    ("utf-8", "application/json; charset=gbk"),
    ("utf-8", "application/json;charset=gb2312"),
    ("utf-8", 'text/html; charset="GB18030"'),
    ("utf-8", "text/plain;charset=ISO-8859-1"),
    ("gbk", "application/json;charset=gbk"),
    ("gb18030", "application/json; charset=GB2312"),
)
"""The encoding of a body, and the header that goes with it."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A period in which the platform fails queries or denies everything it knows."""

    kind: str
    """`down`, `busy` (401, 429, 503), `configuration`, `frequent`, `denies` or `flaps`."""
    start: float
    end: float
    style: str = ""
    rate: float = 1.0
    """The share of queries that it affects."""
    retry_after: float | None = None
    """Seconds."""

    def covers(self, at: float) -> bool:
        """Whether this time is within it."""
        return self.start <= at < self.end


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The habits of one platform, and the settings of its worker."""

    limit: float
    """The age limit, in windows."""
    grace: float
    batch_size: int
    accounts: int
    orders: int
    spread: float
    """The windows within which orders are placed."""
    kinds: str
    """The names that billing gives: `request_id`, `custom_parm`, `both` or `mixed`."""
    echo: str
    """Of customParm in answers: `always`, `never`, `begins` or `stops`."""
    echo_turns: float
    echo_in_callbacks: bool
    names_request_id: bool
    """Whether an answer to a query by customParm names the requestId."""
    shape: str
    keyed_bare: bool
    """Keyed answers do not repeat the id inside."""
    empty_object: bool
    """Where nothing is known the answer is `{}`."""
    one_item: bool
    capital_keys: bool
    numbers: bool
    """Status values are JSON numbers."""
    has_app_id: bool
    extras: str
    """What the answer holds beside the items: nothing, `foreign` items, or a `junk` key that is no id."""
    charset: tuple[str, str | None]
    mask: str
    """`mixed`: each order has its own."""
    leaves_out: float
    """The share of known orders that an answer to several leaves out."""
    denial: str
    """Of unknown orders: `item`, `absent`, `foreign`, `odd status`, `mixed`, or a failure of the whole query."""
    denial_words: str
    """`mixed`: any."""
    denial_shows_mobile: bool
    """Known orders that are denied are denied beside their true number, in words about the order."""
    unknown: float
    """The share of orders that never arrive at it."""
    late: float
    """The share of orders that arrive late."""
    refused: float
    """The share of ids that make it refuse the whole query."""
    refusal: str
    refused_in_company: bool
    """It answers refused ids when they are polled alone."""
    denied_singly: float
    """The share of known orders that it denies for a while."""
    refuses_custom_parm: str
    """How it refuses each query by customParm; empty where it answers."""
    largest_batch: int
    """It refuses more ids than that with 414; 0: it does not."""
    callbacks: float
    """The share of callbacks that come."""
    callback_amounts: str
    """`always`, `never` or `sometimes`."""
    failing: float
    """The share of recharges that fail."""
    stuck: float
    """The share of recharges that never end."""
    recharge: float
    """The mean duration of a recharge, in windows."""
    wrong_mobiles: float
    phases: tuple[Phase, ...]
    echoes_price: bool
    """An amount beside a failure is the order's price; the worker's settings say so."""

    def echoes(self, at: float) -> bool:
        """Whether answers name customParm at this time."""
        match self.echo:
            case "always":
                return True
            case "begins":
                return at >= self.echo_turns
            case "stops":
                return at < self.echo_turns
        return False


def draw_traits(random: Random) -> Traits:
    """Draw a platform at random."""
    is_long = random.random() < 0.06
    limit = random.uniform(1000, 2500) if is_long else random.uniform(180, 420)
    accounts = random.choice((1, 1, 1, 2))
    orders = round(2 ** random.uniform(0, 5 if is_long else 8.65))
    echo = random.choice(("always", "always", "never", "never", "begins", "stops"))
    return Traits(
        limit=limit,
        grace=random.choice((0.0, 2.0, 10.0, 10.0, 20.0)),
        batch_size=random.choice((5, 10, 20, 50, 100, 100, 100)),
        accounts=accounts,
        orders=orders,
        spread=random.choice((0.0, 5.0, random.uniform(0, limit / 2))),
        kinds=random.choice(("request_id", "request_id", "custom_parm", "both", "mixed", "mixed")),
        echo=echo,
        echo_turns=random.uniform(10, limit),
        echo_in_callbacks=random.random() < 0.7,
        names_request_id=random.random() < 0.8,
        shape=random.choice(SHAPES),
        keyed_bare=random.random() < 0.3,
        empty_object=random.random() < 0.15,
        one_item=random.random() < 0.08,
        capital_keys=random.random() < 0.2,
        numbers=random.random() < 0.3,
        has_app_id=random.random() < 0.8,
        extras=random.choice(("", "", "", "", "foreign", "junk")),
        charset=random.choice(CHARSETS),
        mask=random.choice((*wording.MASKS, "mixed", "mixed")),
        leaves_out=random.choice((0.0,) * 8 + (0.02, 0.1)),
        denial=_draw_denial(random),
        denial_words=random.choice((*wording.DENIALS, *wording.EMPTY_WORDS, "mixed", "mixed", "mixed")),
        denial_shows_mobile=random.random() < 0.2,
        unknown=random.choice((0.0, 0.0, 0.02, 0.1, 0.5, 1.0)) * random.random(),
        late=random.choice((0.0, 0.0, 0.05, 0.3)),
        refused=random.choice((0.0, 0.0, 0.0, 0.01, 0.03, 0.2)),
        refusal=random.choice((*STATUSES, *UNREADABLE, "error object")),
        refused_in_company=random.random() < 0.25,
        denied_singly=random.choice((0.0, 0.0, 0.0, 0.02, 0.2)),
        refuses_custom_parm=_some(random, 0.12, ("400", "403", "500", "error object", "empty body", "timeout")),
        largest_batch=random.choice((0,) * 15 + (1, 3, 20)),
        callbacks=random.choice((0.0, 0.0, 0.3, 0.8, 0.95)),
        callback_amounts=random.choice(("always", "always", "sometimes", "never")),
        failing=random.choice((0.05, 0.3, 0.7, 1.0)),
        stuck=random.choice((0.0, 0.0, 0.05, 0.3)),
        recharge=random.choice((1.0, 10.0, 60.0, 200.0)),
        wrong_mobiles=random.choice((0.0,) * 5 + (0.1,)),
        phases=_draw_phases(random, limit),
        # Not drawn: one more draw would make another platform of each seed.
        echoes_price=limit % 1 < 0.3,
    )


def _some(random: Random, share: float, choices: tuple[str, ...]) -> str:
    return random.choice(choices) if random.random() < share else ""


def _draw_denial(random: Random) -> str:
    if random.random() < 0.15:
        return random.choice((*STATUSES, *UNREADABLE, "error object"))
    return random.choice(("item",) * 8 + ("mixed",) * 2 + ("absent",) * 4 + ("foreign", "odd status"))


def _draw_phases(random: Random, limit: float) -> tuple[Phase, ...]:
    """Phases from a few windows to longer than the age limit: minutes to days at the usual settings."""
    phases = []
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        length = 3 * (limit * 0.4) ** random.random()
        start = random.uniform(-5, limit)
        kind = random.choice(("down",) * 4 + ("denies",) * 4 + ("busy", "configuration", "frequent", "flaps"))
        retry_after = random.choice((None, 30.0, 600.0, 86_400.0)) if kind in ("busy", "down") else None
        style = {
            "down": random.choice(OUTAGES),
            "busy": random.choice(("401", "429", "503")),
            "denies": random.choice(("item", "item", "item", "absent", "foreign")),
            "flaps": random.choice(OUTAGES),
        }.get(kind, "")
        rate = random.choice((0.02, 0.1, 0.2)) if kind == "flaps" else 1.0
        phases.append(
            Phase(kind=kind, start=start, end=start + length, style=style, rate=rate, retry_after=retry_after)
        )
    return tuple(phases)
