"""The prices before an account has taught anything."""

from functools import lru_cache

from worker.domain.pricing.ages import ages_of
from worker.domain.pricing.curve import prior_curve
from worker.domain.pricing.prices import Prices, price_looks
from worker.domain.records.parameters import Rules


@lru_cache(maxsize=8)
def prior_prices(rules: Rules) -> Prices:
    """The prices that follow from what is believed of any platform. Computed once for each rules."""
    return price_looks(prior_curve(ages_of(rules)), rules)
