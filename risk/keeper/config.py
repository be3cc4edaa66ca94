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
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from risk.deploy.errors import RecordError
from risk.deploy.fields import Whole, Within, parse_address
from risk.deploy.record import read_record
from risk.keeper.dispatch import DispatchPolicy, FeePolicy
from risk.keeper.errors import ConfigError, KeyError_
from risk.keeper.keys import KeySource
from risk.keeper.source import HeadRule
from risk.keeper.source.http import masked, secret_parts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WAD = 10**18
GWEI = 10**9
MAX_BYTES = 1_000_000
_HEX32 = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def _address(value: Any) -> str:
    """Checksummed. The refused value is not shown: it might be a key in the wrong place."""
    try:
        return parse_address(value)
    except ValueError:
        text = "not an address (0x and 40 hex digits, in lower case or with its checksum)"
        raise ValueError(text) from None


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    return Path(value).expanduser()


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{64}", value):
        raise ValueError("expected 0x and 64 hex digits")
    return value.lower()


def _endpoint(value: Any) -> SecretStr:
    """``http(s)://…`` or the path of a Unix socket."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected an http(s) address or the path of a Unix socket")
    if "://" in value or not value.startswith(("/", ".", "~")):
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("expected an http(s) address or the path of a Unix socket")
        if "@" in parts.netloc:
            raise ValueError("no user:password in an address: HTTP Basic is not supported")
    return SecretStr(value)


def _web(value: Any) -> SecretStr:
    found = _endpoint(value)
    if "://" not in found.get_secret_value():
        raise ValueError("expected an http(s) address")
    return found


Address = Annotated[str, BeforeValidator(_address)]
File = Annotated[Path, BeforeValidator(_path)]
Hash = Annotated[str, BeforeValidator(_hash)]
EndpointUrl = Annotated[SecretStr, BeforeValidator(_endpoint)]
WebUrl = Annotated[SecretStr, BeforeValidator(_web)]
Gwei = Annotated[Decimal, Within("0", "1000000")]
Native = Annotated[Decimal, Within("0", "1000000")]
Cash = Annotated[Decimal, Within("0", "1000000000000")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Chain(Section):
    """Which chain, and when its answers are believed."""

    id: Annotated[int, Whole(1, 2**63)]
    block_seconds: Annotated[int, Whole(1, 3_600)] = 12  # from a head to the next block
    endpoints: Annotated[list[EndpointUrl], Field(min_length=1, max_length=16)]
    quorum: Annotated[int, Whole(1, 16)] = 1  # endpoints that must name the same block
    request_timeout_seconds: Seconds = 5.0
    max_lag_blocks: Annotated[int, Whole(0, 10_000)] = 8  # below the highest block ever believed
    max_head_age_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 120.0
    poll_seconds: Seconds = 1.0  # pause between two looks for a new head
    retry_cap_seconds: Seconds = 30.0  # longest pause after a failure
    give_up_seconds: Seconds = 900.0  # without a trusted head: exit 75
    blooms: bool = True  # the chain fills logsBloom (some rollups do not)
    always_receipts: bool = False  # check every block's logs against its receipts


class Relay(Section):
    """A private endpoint for the sending."""

    url: EndpointUrl
    fallback: bool = False  # send publicly what the relay refuses or does not get mined
    patience_blocks: Annotated[int, Whole(0, 10_000)] = 5


class VaultPlace(Section):
    """The vault, by its deployment record or by address."""

    record: File | None = None
    address: Address | None = None
    deployed_block: Annotated[int, Whole(0, 2**63)] | None = None
    code_hash: Hash | None = None  # keccak of the code at the address
    loader: Literal["lens", "logs"] = "lens"


class SignerPlace(Section):
    """Whose transactions; the key is read with --live only."""

    address: Address
    keystore: File | None = None
    secret_file: File | None = None
    password_file: File | None = None
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


class Liquidator(Section):
    """The account that takes slices and legs over."""

    sub_account: Annotated[int, Whole(0, 255)] = 0
    owner: Address | None = None  # default: the signer; another one must have made him operator


class Profit(Section):
    """What is worth a transaction."""

    min_profit_cash: Cash = Decimal(1)  # after gas and the cost of closing what was taken
    slippage_bps: Annotated[int, Whole(0, 10_000)] = 50  # of the notional, for the on-chain bound
    unwind_bps: Annotated[int, Whole(0, 10_000)] = 2  # of the notional: what closing it costs
    native_price_cash: Cash | None = None  # of 1 native token (10^18 wei) ...
    native_underlying: Annotated[int, Whole(0, 255)] | None = None  # ... or: of this underlying
    max_intents_per_head: Annotated[int, Whole(1, 1_000)] = 8
    max_examined_per_head: Annotated[int, Whole(1, 100_000)] = 64  # accounts looked at closely
    max_legs: Annotated[int, Whole(0, 128)] = 6  # of one liquidation by legs; 0: slices only
    patience_seconds: Annotated[int, Whole(0, 86_400)] = 0  # wait while the reward grows
    spread_bps: Annotated[int, Whole(0, 100_000)] = 10_000  # order drawn by profit; 0: strict
    retry_blocks: Annotated[int, Whole(0, 1_000)] = 3  # rest of an account after a lost race
    ask_pool: bool = False  # simulate in the node's pending block too


class Fees(Section):
    """Limits of EIP-1559 fees; ``budget_native`` is the worst case of one nonce with all its
    replacements.
    """

    max_fee_cap_gwei: Gwei
    budget_native: Native
    tip_gwei: Gwei | None = None  # None: ask the node
    min_tip_gwei: Gwei = Decimal("0.000000001")
    max_tip_gwei: Gwei = Decimal(50)
    base_fee_bps: Annotated[int, Whole(10_000, 100_000)] = 20_000
    bump_bps: Annotated[int, Whole(1_000, 100_000)] = 1_250


class Dispatch(Section):
    """How nonces are driven."""

    confirmations: Annotated[int, Whole(0, 10_000)] = 6
    pipeline: Annotated[int, Whole(1, 64)] = 1
    bump_after_blocks: Annotated[int, Whole(1, 10_000)] = 2
    resend_after_blocks: Annotated[int, Whole(1, 10_000)] = 2
    max_attempts: Annotated[int, Whole(1, 1_000)] = 24
    cancel_gas: Annotated[int, Whole(21_000, 10_000_000)] = 21_000
    retain_blocks: Annotated[int, Whole(1, 100_000)] = 256
    min_balance_native: Native = Decimal(0)  # below it the keeper stops with exit 6


class BookPlan(Section):
    """The ring of blocks, and how often book and chain are compared."""

    ring_blocks: Annotated[int, Whole(1, 4_096)] = 64
    behind_blocks: Annotated[int, Whole(0, 4_096)] = 32  # filled at the start; needs old state
    reconcile_every_blocks: Annotated[int, Whole(1, 1_000_000)] = 25
    reconcile_accounts: Annotated[int, Whole(0, 1_000_000)] = 200
    reconcile_margins: Annotated[int, Whole(0, 10_000)] = 5
    full_reconcile_every_blocks: Annotated[int, Whole(1, 10_000_000)] = 1_800
    survey_every_blocks: Annotated[int, Whole(1, 1_000_000)] = 5  # histogram of all accounts
    lens_gas: Annotated[int, Whole(1_000_000, 10_000_000_000)] = 50_000_000


class State(Section):
    """Files of the keeper: journal, database, log."""

    folder: File
    log_file: File | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    keep_rows: Annotated[int, Whole(100, 10_000_000)] = 20_000  # of each table of the database


class Monitor(Section):
    """Metrics and page, and who is told of margin calls."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Whole(0, 65_535)] = 9_464  # 0: a free one
    webhook_url: WebUrl | None = None


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
        fees = FeePolicy(
            max_fee_cap_wei=_units(f.max_fee_cap_gwei, GWEI),
            budget_wei=_units(f.budget_native, WAD),
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
