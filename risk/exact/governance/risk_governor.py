"""The owner of the vault: who may change what, and how fast.  Twin:
``contracts/governance/RiskGovernor.sol`` with ``GovernorStore.sol``.

Methods that change state take the sender first; where they raise ``ModelRevert``, governor and
vault stay as they were.  The timelock is an address here: what it sends has waited.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff, param_layout, param_ramp, steward_check
from risk.exact.vault import Vault

# keccak256 of the names
DEFAULT_ADMIN_ROLE: Final = 0
TIMELOCK_ROLE: Final = 0xF66846415D2BF9EABDA9E84793FF9C0EA96D87F50FC41E66AA16469C6A442F05
GUARDIAN_ROLE: Final = 0x55435DD261A4B9B3364963F7738A7A662AD9C84396D64BE3365284BB7F0A5041
STEWARD_ROLE: Final = 0xBDE745D383BD90948C6BF528CF5A56A9FE775BFEE56A5D53B36FD785802B88EC
LISTER_ROLE: Final = 0xF94103142C1BAABE9AC2B5D1487BF783DE9E69CFEEA9A72F5C9C94AFD7877B8C

NOBODY, STEWARD, GUARDIAN, TIMELOCK = range(4)  # who started a ramp

DAY: Final = 86_400
MIN_STEP_SECONDS: Final = 3_600
MAX_STEWARD_BPS: Final = 2_000
MAX_HORIZON_DAYS: Final = 1_200


class _Extension(Protocol):
    """The owner's functions of ``IVaultExtension``."""

    def start_wind_down(self, sender: int) -> None: ...

    def set_sequencer_feed(self, sender: int, feed: int) -> None: ...


class _Undo(Exception):
    """Takes the vault back."""


@dataclass(frozen=True)
class Config:
    """``IRiskGovernor.Config``."""

    step_seconds: int
    min_steps: int
    steward_bps: int
    steward_period: int
    strikes_per_day: int


@dataclass
class Store:
    """``GovernorStore.State``: the ramp, the steward's period, the lister's budgets."""

    start: bytes = b""
    target: bytes = b""  # empty: no ramp
    step: int = 0
    steps: int = 0
    last_step: int = 0
    origin: int = NOBODY
    anchor: bytes = b""  # empty: the next steering starts a period
    anchor_time: int = 0
    strikes: dict[int, tuple[int, int]] = field(default_factory=dict)  # u -> (day, used)


class RiskGovernor:
    """``address`` owns ``vault``; ``roles`` maps a role to its holders."""

    def __init__(
        self,
        vault: Vault,
        address: int,
        timelock: int,
        max_delay: int,
        guardian: int,
        steward: int,
        lister: int,
        config: Config,
    ) -> None:
        _require_config(config, max_delay)
        self.vault = vault
        self.address = address
        self.config = config
        self.store = Store()
        self.roles: dict[int, set[int]] = {
            DEFAULT_ADMIN_ROLE: {timelock},
            TIMELOCK_ROLE: {timelock},
            GUARDIAN_ROLE: {guardian},
            STEWARD_ROLE: {steward},
            LISTER_ROLE: {lister},
        }

    # -------------------------------------------------------------------------------- parameters

    def submit_params(self, sender: int, blob: bytes) -> None:
        """Any change, through the timelock."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            self._begin(blob, TIMELOCK)

    def tighten(self, sender: int, blob: bytes) -> None:
        """A change that loosens nothing, by a guardian."""
        with self._atomic():
            self._only(sender, GUARDIAN_ROLE)
            self._begin(blob, GUARDIAN)

    def steer(self, sender: int, blob: bytes) -> None:
        """A change of weights and lanes within the steward's limits."""
        with self._atomic():
            self._only(sender, STEWARD_ROLE)
            self._begin(blob, STEWARD)

    def poke(self, sender: int) -> None:
        """The next step of the ramp; anybody.  ``RampInactive``, ``StepTooEarly``."""
        del sender
        with self._atomic():
            s = self.store
            if not s.target:
                raise ModelRevert("RampInactive", (s.step, s.steps))
            earliest = s.last_step + self.config.step_seconds
            if self.vault.world.timestamp < earliest:
                raise ModelRevert("StepTooEarly", (self.vault.world.timestamp, earliest))
            s.step += 1
            s.last_step = self.vault.world.timestamp
            blob = param_ramp.interpolate(s.start, s.target, s.step, s.steps)
            if s.step == s.steps:
                self._end()
            if blob != self._blob():
                self.vault.set_risk_params(self.address, blob)

    def halt(self, sender: int) -> None:
        """Stop the ramp where it is: the timelock any, guardian and steward each other's.

        ``RampInactive``, ``HaltRefused(origin)``.
        """
        with self._atomic():
            s = self.store
            if not s.target:
                raise ModelRevert("RampInactive", (s.step, s.steps))
            allowed = self.has_role(TIMELOCK_ROLE, sender)
            allowed |= s.origin == STEWARD and self.has_role(GUARDIAN_ROLE, sender)
            allowed |= s.origin == GUARDIAN and self.has_role(STEWARD_ROLE, sender)
            if not allowed:
                raise ModelRevert("HaltRefused", (sender, s.origin))
            self._end()

    def _begin(self, blob: bytes, origin: int) -> None:
        s = self.store
        current = self._blob()
        base = s.target or current
        param_layout.require_shape(base, blob)
        if blob == base:
            raise ModelRevert("NothingChanges", ())
        if origin == GUARDIAN:
            param_diff.require_tightening(base, blob)
        elif origin == STEWARD:
            self._require_steward(base, blob)
        else:
            s.anchor = b""
        start, steps = param_ramp.plan(current, blob, origin == TIMELOCK, self.config.min_steps)
        if steps:
            self._probe(blob)
            # a ramp that replaces one of the timelock stays the timelock's
            s.origin = max(s.origin, origin)
            s.start, s.target, s.step, s.steps = start, blob, 0, steps
        else:
            self._end()
        if start != current:
            self.vault.set_risk_params(self.address, start)

    def _require_steward(self, base: bytes, blob: bytes) -> None:
        """``RampActive`` during any ramp; then the limits of the period."""
        s, now = self.store, self.vault.world.timestamp
        if s.target:
            raise ModelRevert("RampActive", (s.step, s.steps))
        if not s.anchor or now >= s.anchor_time + self.config.steward_period:
            s.anchor, s.anchor_time = base, now
        steward_check.require_within(s.anchor, base, blob, self.config.steward_bps)

    def _probe(self, blob: bytes) -> None:
        """The vault's own judgement of a target, without effect."""
        with suppress(_Undo), self.vault._atomic():
            self.vault.set_risk_params(self.address, blob)
            raise _Undo

    def _end(self) -> None:
        s = self.store
        s.start, s.target, s.step, s.steps, s.origin = b"", b"", 0, 0, NOBODY

    # ----------------------------------------------------------------------------------- listing

    def list_underlying(self, sender: int, feed: int, words: bytes) -> int:
        """List an underlying with its eleven words of parameters, through the timelock."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            index = self.vault.list_underlying(self.address, feed)
            s = self.store
            current = param_layout.with_underlying(self._blob(), words)
            if s.anchor:
                s.anchor = param_layout.with_underlying(s.anchor, words)
            if s.target:
                s.start = param_layout.with_underlying(s.start, words)
                s.target = param_layout.with_underlying(s.target, words)
            self.vault.set_risk_params(self.address, current)
            return index

    def list_collateral(
        self,
        sender: int,
        token: int,
        underlying: int,
        rate_feed: int,
        haircut_bps: int,
        withdraw_cap: int,
        decimals: int | None,
    ) -> int:
        """List a collateral with cap 0, by the timelock; ``decimals`` is the token's answer."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            index = self.vault.list_collateral(self.address, token, underlying, rate_feed, decimals)
            assert decimals is not None
            word = underlying | decimals << 8 | haircut_bps << 16 | int(rate_feed != 0) << 160
            s = self.store
            current = param_layout.with_collateral(self._blob(), word, withdraw_cap)
            if s.anchor:
                s.anchor = param_layout.with_collateral(s.anchor, word, withdraw_cap)
            if s.target:
                s.start = param_layout.with_collateral(s.start, word, withdraw_cap)
                s.target = param_layout.with_collateral(s.target, word, withdraw_cap)
            self.vault.set_risk_params(self.address, current)
            return index

    def list_expiry(
        self, sender: int, underlying: int, expiry_day: int, strikes_wad: Sequence[int]
    ) -> None:
        """Routine listing by a lister.  ``ExpiryTooFar``, ``StrikeBudget``, then the vault's."""
        with self._atomic():
            self._only(sender, LISTER_ROLE)
            today = self.vault.world.timestamp // DAY
            if expiry_day > today + MAX_HORIZON_DAYS:
                raise ModelRevert("ExpiryTooFar", (expiry_day, today + MAX_HORIZON_DAYS))
            day, used = self.store.strikes.get(underlying, (today, 0))
            used = (used if day == today else 0) + len(strikes_wad)
            if used > self.config.strikes_per_day:
                raise ModelRevert("StrikeBudget", (underlying, used, self.config.strikes_per_day))
            self.store.strikes[underlying] = (today, used)
            self.vault.list_expiry(self.address, underlying, expiry_day, strikes_wad)

    def set_signers(self, sender: int, signers: Sequence[int], threshold: int) -> None:
        """Through the timelock."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            self.vault.set_signers(self.address, signers, threshold)

    def set_sequencer_feed(self, sender: int, feed: int) -> None:
        """Through the timelock."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            cast(_Extension, self.vault).set_sequencer_feed(self.address, feed)

    def start_wind_down(self, sender: int) -> None:
        """Through the timelock; there is no way back."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            cast(_Extension, self.vault).start_wind_down(self.address)

    def transfer_vault(self, sender: int, owner: int) -> None:
        """Hand the vault to another owner, through the timelock.  ``NewOwnerIsZeroAddress``."""
        with self._atomic():
            self._only(sender, TIMELOCK_ROLE)
            if owner == 0:
                raise ModelRevert("NewOwnerIsZeroAddress", ())
            self.vault.state.owner = owner

    # ------------------------------------------------------------------------------------- roles

    def has_role(self, role: int, account: int) -> bool:
        """``hasRole``."""
        return account in self.roles[role]

    def grant_role(self, sender: int, role: int, account: int) -> None:
        """By the admin of every role, which only the timelock is."""
        self._only(sender, DEFAULT_ADMIN_ROLE)
        self.roles[role].add(account)

    def revoke_role(self, sender: int, role: int, account: int) -> None:
        """As ``grant_role``."""
        self._only(sender, DEFAULT_ADMIN_ROLE)
        self.roles[role].discard(account)

    def renounce_role(self, sender: int, role: int, confirmation: int) -> None:
        """``AccessControlBadConfirmation`` unless it names the sender."""
        if confirmation != sender:
            raise ModelRevert("AccessControlBadConfirmation", ())
        self.roles[role].discard(sender)

    # ----------------------------------------------------------------------------------- private

    def _only(self, sender: int, role: int) -> None:
        if not self.has_role(role, sender):
            raise ModelRevert("AccessControlUnauthorizedAccount", (sender, role))

    def _blob(self) -> bytes:
        params = self.vault.state.params
        if params is None:
            raise ModelRevert("RiskParamsMissing", ())
        return params.blob

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        store = copy.copy(self.store)
        store.strikes = dict(store.strikes)
        try:
            with self.vault._atomic():
                yield
        except ModelRevert:
            self.store = store
            raise


def _require_config(config: Config, max_delay: int) -> None:
    """``ConfigInvalid(place, value)`` of the first field out of range."""
    bad = (
        config.step_seconds < MIN_STEP_SECONDS,
        (config.min_steps - 1) * config.step_seconds < max_delay,
        not 0 < config.steward_bps <= MAX_STEWARD_BPS,
        config.steward_period < DAY,
        config.strikes_per_day == 0,
    )
    values = (
        config.step_seconds,
        config.min_steps,
        config.steward_bps,
        config.steward_period,
        config.strikes_per_day,
    )
    for place, (wrong, value) in enumerate(zip(bad, values, strict=True)):
        if wrong:
            raise ModelRevert("ConfigInvalid", (place, value))
