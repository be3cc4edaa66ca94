"""The keeper's configuration: one TOML file, typed, with units in the names.

Amounts are decimal strings (``"0.05"``) or whole numbers, times are seconds or blocks. Paths are
relative to the file's folder. A field that does not exist is refused with its section. Addresses
of endpoints, the relay and the webhook may hold credentials: they are ``SecretStr``, never shown by
``repr``, an error or a log (``log.py`` also cuts them out of what other libraries say).
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from risk.deploy.errors import RecordError
from risk.deploy.record import read_record
from risk.keeper.dispatch import DispatchPolicy, FeePolicy
from risk.keeper.errors import ConfigError, KeyError_
from risk.keeper.keys import KeySource, check_source
from risk.keeper.sections import (
    BookPlan,
    Chain,
    Dispatch,
    Fees,
    Liquidator,
    Monitor,
    Profit,
    Relay,
    Section,
    SignerPlace,
    State,
    VaultPlace,
)
from risk.keeper.source import HeadRule
from risk.keeper.source.http import masked, secret_parts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WAD = 10**18
GWEI = 10**9
MAX_BYTES = 1_000_000
LOSS_BUDGETS, SPEND_BUDGETS = 10, 100  # limits of a day's fees where the file names none
_HEX32 = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class KeeperConfig(Section):
    """The whole file."""

    version: Literal[1]
    dry_run: bool = True
    chain: Chain
    vault: VaultPlace
    signer: SignerPlace
    liquidator: Liquidator = Liquidator()
    profit: Profit
    fees: Fees
    state: State
    relay: Relay | None = None
    dispatch: Dispatch = Dispatch()
    book: BookPlan = BookPlan()
    monitor: Monitor = Monitor()

    # ── what the parts are given ─────────────────────────────────────────────────────────────────

    @property
    def urls(self) -> list[str]:
        """Endpoints as they are; never to be shown."""
        return [url.get_secret_value() for url in self.chain.endpoints]

    @property
    def shown_urls(self) -> list[str]:
        """Endpoints as they may be shown."""
        return [masked(url) for url in self.urls]

    @property
    def secrets(self) -> list[str]:
        """Parts of addresses that must not appear anywhere: what follows the host."""
        urls = list(self.urls)
        urls += [self.relay.url.get_secret_value()] if self.relay else []
        hook = self.monitor.webhook_url
        urls += [hook.get_secret_value()] if hook else []
        found = {part for url in urls for part in secret_parts(url)}
        return sorted(found, key=lambda s: (-len(s), s))

    @property
    def liquidator_account(self) -> int:
        """The 168-bit number of the liquidator's account."""
        owner = self.liquidator.owner or self.signer.address
        return int(owner, 16) << 8 | self.liquidator.sub_account

    def head_rule(self) -> HeadRule:
        """When a head is believed."""
        age = self.chain.max_head_age_seconds
        return HeadRule(self.chain.quorum, self.chain.max_lag_blocks, age or None)

    def dispatch_policy(self) -> DispatchPolicy:
        """Limits of the dispatcher; ``ValueError`` where they contradict each other."""
        f, d, r = self.fees, self.dispatch, self.relay
        budget = _units(f.budget_native, WAD)

        def limit(given: Decimal | None, budgets: int) -> int:
            return budgets * d.pipeline * budget if given is None else _units(given, WAD)

        fees = FeePolicy(
            max_fee_cap_wei=_units(f.max_fee_cap_gwei, GWEI),
            budget_wei=budget,
            tip_wei=None if f.tip_gwei is None else _units(f.tip_gwei, GWEI),
            min_tip_wei=_units(f.min_tip_gwei, GWEI),
            max_tip_wei=_units(f.max_tip_gwei, GWEI),
            base_fee_bps=f.base_fee_bps,
            bump_bps=f.bump_bps,
        )
        return DispatchPolicy(
            chain_id=self.chain.id,
            fees=fees,
            confirmations=d.confirmations,
            pipeline=d.pipeline,
            bump_after_blocks=d.bump_after_blocks,
            resend_after_blocks=d.resend_after_blocks,
            max_attempts=d.max_attempts,
            cancel_gas=d.cancel_gas,
            retain_blocks=d.retain_blocks,
            loss_wei_per_day=limit(f.loss_native_per_day, LOSS_BUDGETS),
            spend_wei_per_day=limit(f.spend_native_per_day, SPEND_BUDGETS),
            relay_fallback=r.fallback if r else False,
            relay_patience_blocks=r.patience_blocks if r else 5,
        )

    def key_source(self) -> KeySource:
        """Where the key is; ``KeyError_`` where the file names none."""
        s = self.signer
        if s.keystore is None and s.secret_file is None:
            raise KeyError_("[signer] names no keystore and no secret_file: only a dry run works")
        return KeySource(s.keystore, s.secret_file, s.password_file, s.password_env)


class Place(BaseModel):
    """The vault that the file means, resolved."""

    model_config = ConfigDict(frozen=True)

    address: str
    deployed_block: int
    code_hash: str | None


def wad(amount: Decimal) -> int:
    """An amount in WAD, rounded down."""
    return _units(amount, WAD)


def load_config(path: Path) -> KeeperConfig:
    """Reads and checks the file. ``ConfigError`` lists every problem with section and field."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes")
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: malformed TOML: {_place(str(error))}") from None
    return parse_config(content, path)


def parse_config(content: Any, path: Path) -> KeeperConfig:
    """Checks parsed content; relative paths start in the folder of ``path``."""
    try:
        config = KeeperConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_report(path, _problems(error))) from None
    problems = _contradictions(config)
    if problems:
        raise ConfigError(_report(path, problems))
    return _absolute(config, path.absolute().parent)


def vault_place(config: KeeperConfig) -> Place:
    """Address, block and code hash of the vault, from the record where one is named.

    Raises ``ConfigError`` for a record that cannot be read or is of another chain.
    """
    v = config.vault
    if v.record is None:
        assert v.address is not None and v.deployed_block is not None
        return Place(address=v.address, deployed_block=v.deployed_block, code_hash=v.code_hash)
    try:
        record = read_record(v.record)
        deployed = record.contract("Vault")
    except RecordError as error:
        raise ConfigError(f"[vault] record: {error}") from None
    if record.chain_id != config.chain.id:
        raise ConfigError(
            f"[vault] record: {v.record} is of chain {record.chain_id}, "
            f"[chain] id is {config.chain.id}"
        )
    return Place(
        address=record.vault,
        deployed_block=deployed.block,
        code_hash=v.code_hash or deployed.runtime_hash,
    )


def require_inputs(config: KeeperConfig, *, live: bool) -> None:
    """What the file names is there: the record, and with ``live`` the key's files. Raises
    ``ConfigError`` and ``KeyError_``.
    """
    vault_place(config)
    if live:
        check_source(config.key_source())


def _contradictions(config: KeeperConfig) -> list[str]:
    """Fields that are fine alone and not together."""
    out: list[str] = []
    v, s, p = config.vault, config.signer, config.profit
    if (v.record is None) == (v.address is None):
        out.append("[vault]: give either record or address")
    elif v.record is not None and v.deployed_block is not None:
        out.append("[vault] deployed_block: stands in the record")
    elif v.address is not None and v.deployed_block is None:
        out.append("[vault] deployed_block: needed with address")
    if config.chain.quorum > len(config.chain.endpoints):
        out.append(
            f"[chain] quorum: {config.chain.quorum} of {len(config.chain.endpoints)} endpoints"
        )
    if len(set(config.shown_urls)) != len(config.shown_urls):
        out.append("[chain] endpoints: two with the same host and port")
    if s.keystore is not None and s.secret_file is not None:
        out.append("[signer]: give keystore or secret_file, not both")
    if s.password_file is not None and s.password_env is not None:
        out.append("[signer]: give password_file or password_env, not both")
    if s.keystore is None and (s.password_file or s.password_env):
        out.append("[signer]: a password is for a keystore")
    if (p.native_price_cash is None) == (p.native_underlying is None):
        out.append("[profit]: give either native_price_cash or native_underlying")
    if config.book.behind_blocks > config.book.ring_blocks:
        out.append("[book] behind_blocks: more than ring_blocks")
    try:
        config.dispatch_policy()
    except ValueError as error:
        out.append(f"[fees] or [dispatch]: {error}")
    return out


def _absolute(config: KeeperConfig, folder: Path) -> KeeperConfig:
    """The same with absolute paths."""

    def moved(section: Section, *names: str) -> Any:
        given = {n: getattr(section, n) for n in names}
        return section.model_copy(update={n: folder / p for n, p in given.items() if p is not None})

    return config.model_copy(
        update={
            "vault": moved(config.vault, "record"),
            "signer": moved(config.signer, "keystore", "secret_file", "password_file"),
            "state": moved(config.state, "folder", "log_file"),
        }
    )


def _units(amount: Decimal, unit: int) -> int:
    return int(amount * unit)


def _place(text: str) -> str:
    """What tomllib says, without text of the file."""
    found = re.search(r"\(at (line \d+, column \d+|end of document)\)", text)
    return found.group(1) if found else "not TOML"


def _report(path: Path, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{path}: {problems[0]}"
    return "\n".join([f"{path}: {len(problems)} problems", *(f"  {p}" for p in problems)])


def _problems(error: ValidationError) -> list[str]:
    """One line each: ``[section] field: what``. Values of the file are never repeated."""
    lines: list[str] = []
    for item in error.errors(include_url=False, include_input=False):
        where = [str(p) for p in item["loc"]]
        section = f"[{where[0]}] " if len(where) > 1 else ""
        name = where[0] if len(where) == 1 else where[1] if len(where) > 1 else ""
        rest = "".join(f"[{p}]" for p in where[2:] if p.isdigit())
        text = {"extra_forbidden": "unknown field", "missing": "required field is missing"}.get(
            item["type"], item["msg"].removeprefix("Value error, ")
        )
        lines.append(_HEX32.sub("(masked)", f"{section}{name}{rest}: {text}"))
    return lines
