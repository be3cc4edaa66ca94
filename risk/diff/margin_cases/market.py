"""Markets of the margin cases: at least 500 listed instruments on at least 4 underlyings.

A market is made from (seed, number) alone and shared by every case of its chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from risk.diff.plumbline import ledger
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.portfolio import WAD
from risk.diff.plumbline.tails import draw_tails
from risk.diff.plumbline.world import CALL, WorldSpec, make_world, to_state
from risk.exact.margin import instrument_id
from risk.exact.state import State, World

MIN_INSTRUMENTS = 500
MIN_UNDERLYINGS = 4
MAX_INSTRUMENTS = 1_000
WILD_PERCENT = 40  # markets with extreme prices, expired or missing slices
COLD_PERCENT = 15  # markets in which some arrays are not cached


@dataclass(frozen=True)
class Market:
    """Everything but the accounts. ``state`` holds no account; treat it as read-only.

    ``linear`` and ``options`` are the tradable ids; ``cached`` those options whose scenario arrays
    the contract is told to compute before the cases.
    """

    seed: int
    number: int
    spec: WorldSpec
    state: State
    world: World
    linear: tuple[int, ...]
    options: tuple[int, ...]
    cached: tuple[int, ...]
    tags: frozenset[str]

    @property
    def prices_wad(self) -> list[int]:
        """Snapshot prices by underlying."""
        return [u.price_wad for u in self.state.underlyings]


def make_market(seed: int, number: int, *, scenarios: int = 0, calm: bool = False) -> Market:
    """The market of (seed, number); the same on every machine.

    ``scenarios`` fixes K (0: one of 1, 31, 32, 33, 64); ``calm`` leaves out extremes, missing data
    and arrays that are not cached.
    """
    rng = Random(f"margin market {seed} {number} {scenarios} {calm}")
    wild = not calm and chance(rng, WILD_PERCENT)
    spec = _spec(rng, scenarios, wild)
    draw_tails(rng, spec)
    state, world = to_state(spec, rng, ADMIN)
    ledger.before_accounts(rng, spec, state)
    for u, p in zip(state.underlyings, spec.params.underlyings, strict=True):
        # on both sides of the depth, where the size charges begin
        u.open_interest_wad = min(2**103, p.depth_wad * rng.randint(0, 2_000) // 1000)
    ids = spec.instruments()
    options = tuple(i for i in ids if instrument_id.kind(i) >= CALL)
    cold = not calm and chance(rng, COLD_PERCENT)
    cached = tuple(i for i in options if _has_array(state, i) and not (cold and chance(rng, 3)))
    return Market(
        seed,
        number,
        spec,
        state,
        world,
        tuple(i for i in ids if instrument_id.kind(i) < CALL),
        options,
        cached,
        _tags(spec, state, wild, cold),
    )


def _spec(rng: Random, scenarios: int, wild: bool) -> WorldSpec:
    """Worlds are drawn until one is wide enough."""
    while True:
        spec = make_world(rng, wild=wild, capacity=MIN_INSTRUMENTS + 40)
        if len(spec.underlyings) < MIN_UNDERLYINGS:
            continue
        if scenarios and spec.params.scenarios != scenarios:
            continue
        if MIN_INSTRUMENTS <= len(spec.instruments()) <= MAX_INSTRUMENTS:
            return spec


def _has_array(state: State, instrument: int) -> bool:
    """The expiry was reported, or needs no report because it is over."""
    if state.buckets[instrument_id.bucket_key(instrument)].forward_ratio_wad:
        return True
    underlying = state.underlyings[instrument_id.underlying(instrument)]
    return instrument_id.expiry(instrument) <= underlying.time


def _tags(spec: WorldSpec, state: State, wild: bool, cold: bool) -> frozenset[str]:
    tags = {f"K = {spec.params.scenarios}", f"underlyings: {len(spec.underlyings)}"}
    tags |= {f"feature: {name}" for name, value in vars(spec.params.tail).items() if value}
    features = {
        "wild market": wild,
        "some arrays not cached": cold,
        "interest": state.borrow_index_e15 > ledger.INDEX_ONE,
        "funding": any(u.funding_e12 for u in state.underlyings),
        "stable price apart": any(u.stable_apart for u in state.underlyings),
        "collateral rates": any(c.rate_feed for c in state.collaterals),
        "collateral rate below 1": any(0 < c.rate_wad < WAD for c in state.collaterals),
        "open interest above depth": any(
            u.open_interest_wad > p.depth_wad
            for u, p in zip(state.underlyings, spec.params.underlyings, strict=True)
        ),
    }
    return frozenset(tags | {f"feature: {name}" for name, has in features.items() if has})
