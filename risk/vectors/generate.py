"""Writes worked cases: the runner's own random worlds, kept small enough to read."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.portfolio import make_account, move_to_boundary, open_interest, set_health
from risk.diff.plumbline.world import make_world, to_state
from risk.exact.state import Account, Bucket, Linear, Option, State
from risk.vectors.format import ACCOUNT_ID, VERSION, inputs_of, state_of, strings
from risk.vectors.work import work_out

SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10)
LARGE = {50: 33, 100: 64, 150: 128}  # case number -> positions

Progress = Callable[[int], None]


def generate(cases: int, seed: int, progress: Progress = lambda _: None) -> dict[str, Any]:
    """The document of ``cases`` cases."""
    out = []
    for index in range(cases):
        out.append(strings(make_vector(seed, index)))
        progress(index + 1)
    return {
        "version": VERSION,
        "description": "Plumbline portfolio margin, worked through. See docs/vectors.md.",
        "seed": str(seed),
        "cases": out,
    }


def make_vector(seed: int, index: int) -> dict[str, Any]:
    """One case, integers not yet strings."""
    rng = Random(f"vector {seed} {index}")
    count = LARGE.get(index, rng.choice(SIZES))
    spec = make_world(rng, capacity=count)
    state, _ = to_state(spec, rng, ADMIN)
    account = make_account(rng, spec, count)
    state.accounts[ACCOUNT_ID] = account
    for u, units in open_interest([account]).items():
        state.underlyings[u].open_interest_wad = min(2**103, units * rng.randint(1, 9))
    boundary = move_to_boundary(rng, state, ACCOUNT_ID) if chance(rng, 50) else ""
    if not boundary:
        set_health(rng, state, ACCOUNT_ID)
    _spoil(index, state, account)
    inputs = inputs_of(state, account)
    again: State = state_of(strings(inputs))  # the inputs as written must be enough
    middle, outputs = work_out(again, ACCOUNT_ID)
    k = spec.params.scenarios
    title = f"{len(account.linear)} linear, {len(account.options)} options, K = {k}"
    title += f", at {boundary}" if boundary else ""
    return {
        "case": index,
        "title": title,
        "inputs": inputs,
        "intermediates": middle,
        "outputs": outputs,
    }


def _spoil(index: int, state: State, account: Account) -> None:
    """Some cases have no margin: an option whose slice was never reported, an exposure beyond the
    limit.
    """
    if index % 40 == 10:
        for key, bucket in state.buckets.items():
            state.buckets[key] = Bucket(listed=True, strikes_wad=bucket.strikes_wad)
    elif index % 40 == 30:
        positions: list[Linear | Option] = [*account.linear, *account.options]
        for position in positions:
            position.size_wad = -(2**95)
