"""Random tails of the risk parameters, every feature on or off, with limits that actions still
mostly stay below; and random groups.

Kept apart from ``world.make_world``, whose draws other generators (vectors, gas) rely on.
"""

from __future__ import annotations

from random import Random

from risk.diff.plumbline.draw import chance, log_int
from risk.diff.plumbline.params_blob import Params, Tail
from risk.diff.plumbline.world import DAY, WAD, WorldSpec

ALL_OFF_PERCENT = 15
GROUPED_PERCENT = 25
GROUPS = (0, 1, 7, 255)


def draw_tails(rng: Random, spec: WorldSpec) -> None:
    """Fill the tail of ``spec.params`` in place; in a share of the worlds everything stays off.  In
    another share the underlyings are of two or three groups.
    """
    draw_groups(spec.params, spec.now)
    if chance(rng, ALL_OFF_PERCENT):
        return
    params = spec.params
    params.tail = make_tail(rng)
    prices = [u.price_wad for u in spec.underlyings]
    for u, price in enumerate(prices):
        draw_underlying_tail(rng, params, u, price)
    if params.target_bps > 10_100 and chance(rng, 8):  # a reward above the requirement itself
        params.reward_max_bps = params.target_bps - 1
        params.reward_base_bps = rng.randint(10_000, params.reward_max_bps)
    for c in params.collaterals:
        c.withdraw_cap = (
            log_int(rng, 10 ** (c.decimals + 1), 10 ** (c.decimals + 5)) if chance(rng, 40) else 0
        )


def draw_groups(params: Params, *key: int) -> None:
    """Groups of the underlyings, one for all of them mostly; in place.

    ``key`` seeds a generator of their own, so that everything else is drawn as if there were none.
    """
    rng = Random(f"groups {key}")
    names = rng.sample(GROUPS, rng.choice([2, 2, 3])) if chance(rng, GROUPED_PERCENT) else [0]
    for item in params.underlyings:
        item.group = rng.choice(names)


def make_tail(rng: Random) -> Tail:
    """The global words."""
    tail = Tail()
    if chance(rng, 70):
        tail.base_rate_bps = rng.randint(0, 500)
        tail.kink_utilisation_bps = rng.choice([0, 8_000, rng.randint(1, 9_999)])
        tail.kink_rate_bps = tail.base_rate_bps + rng.randint(0, 3_000)
        tail.full_rate_bps = tail.kink_rate_bps + rng.choice([0, rng.randint(1, 30_000)])
        tail.reserve_share_bps = rng.choice([0, rng.randint(1, 3_000), 10_000])
    if chance(rng, 60):
        tail.trade_fee_e6 = rng.randint(1, 1_500)
        tail.option_fee_cap_bps = rng.choice([0, 1_250, rng.randint(1, 3_000)])
    if chance(rng, 60):
        tail.warning_bps = rng.randint(10_100, 16_000)
    if chance(rng, 50):
        tail.min_margin_wad = log_int(rng, 1, 300) * WAD
    if chance(rng, 55):
        tail.grace_seconds = rng.choice([30, 300, rng.randint(1, 3_600)])
        tail.emergency_bps = rng.choice([0, 5_000, rng.randint(1, 9_900)])
    if chance(rng, 50):
        tail.reward_time_bps = rng.randint(1, 2_000)
    if chance(rng, 60):
        tail.insurance_event_cap_wad = log_int(rng, 10, 10**5) * WAD
    if chance(rng, 50):
        tail.insurance_period_cap_wad = log_int(rng, 10, 10**5) * WAD
        tail.insurance_period_seconds = rng.choice([3_600, DAY, 7 * DAY])
    if chance(rng, 60):
        tail.adl_share_bps = rng.choice([rng.randint(1, 10_000), 10_000, 2_500])
    if chance(rng, 55):
        tail.withdraw_period_seconds = rng.choice([600, 3_600, DAY])
    if chance(rng, 60):
        tail.cash_withdraw_cap_wad = log_int(rng, 2_000, 10**6) * WAD
    if chance(rng, 50):
        tail.unrealised_cap_usd = log_int(rng, 50, 10**6)
    _windows(rng, tail)
    return tail


def _windows(rng: Random, tail: Tail) -> None:
    """Settlement, breaker, sequencer, wind-down, funding."""
    if chance(rng, 80):
        tail.settle_window_seconds = rng.choice([600, 1_800, 3_600])
        tail.settle_min_observations = rng.randint(1, 3)
        tail.settle_min_spacing_seconds = rng.choice([0, 1, 30, 120])
    if chance(rng, 60):
        tail.breaker_seconds = rng.choice([30, 600, 3_600])
    if chance(rng, 60):
        tail.sequencer_grace_seconds = rng.choice([30, 600, 3_600])
    if chance(rng, 70):
        tail.wind_down_notice_seconds = rng.choice([1, 60, 600, DAY])
    if chance(rng, 75):
        tail.funding_period_seconds = rng.choice([3_600, 8 * 3_600, DAY])


def draw_underlying_tail(rng: Random, params: Params, u: int, price_wad: int) -> None:
    """Caps, funding, stable price and jump of one underlying; caps are units."""
    item, price = params.underlyings[u], max(1, price_wad)
    item.oi_cap_wad = item.position_cap_wad = 0
    if chance(rng, 40):
        item.oi_cap_wad = min(2**104 - 1, log_int(rng, 10**5, 10**8) * WAD * WAD // price)
    if chance(rng, 40):
        item.position_cap_wad = min(2**88 - 1, log_int(rng, 10**4, 10**7) * WAD * WAD // price)
    funded = params.tail.funding_period_seconds and chance(rng, 80)
    item.max_funding_bps = rng.choice([1_000, rng.randint(1, 1_000)]) if funded else 0
    item.stable_rate_bps_per_day = item.stable_band_bps = 0
    if chance(rng, 60):
        item.stable_rate_bps_per_day = rng.choice([0, 500, rng.randint(1, 20_000)])
        item.stable_band_bps = rng.choice([0, 100, rng.randint(1, 1_500)])
    item.jump_bps = rng.choice([800, rng.randint(300, 6_000)]) if chance(rng, 55) else 0
