"""The tables of the configuration file, each field with its type, limits and default."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from risk.deploy.fields import Whole, Within, parse_address


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
    # fees of 24 hours: of transactions that brought nothing, and of all
    loss_native_per_day: Native | None = None  # None: LOSS_BUDGETS · pipeline · budget_native
    spend_native_per_day: Native | None = None  # None: SPEND_BUDGETS · pipeline · budget_native


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
    full_reconcile_accounts: Annotated[int, Whole(1, 1_000_000)] = 1_000  # of it in one turn
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
