"""Everything that can be checked before the first transaction is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from risk.chain.abi import AbiError, Function, function
from risk.deploy.config import DeployConfig, Feed, Token
from risk.deploy.errors import PreflightError
from risk.deploy.sender import Sender
from risk.errors import ChainIdMismatchError, RpcError

_WAD = 10**18


def _view(name: str, *outputs: str) -> Function:
    return function({"name": name, "outputs": [{"type": t} for t in outputs]})


_DECIMALS = _view("decimals", "uint8")
_ROUND = _view("latestRoundData", "uint80", "int256", "uint256", "uint256", "uint80")


def preflight(config: DeployConfig, sender: Sender) -> None:
    """Refuses what would fail later: wrong chain or key, no gas money, wrong tokens or feeds.

    All problems of tokens and feeds are reported together, each with its field.
    """
    chain_id = sender.rpc.chain_id()
    if chain_id not in config.chain_ids:
        if len(config.chain_ids) == 1:
            raise ChainIdMismatchError(config.chain_ids[0], chain_id, sender.rpc.transport.endpoint)
        raise PreflightError(
            f"chain_ids: the node serves chain {chain_id}, allowed are {config.chain_ids}"
        )
    if config.deployer is not None and int(config.deployer, 16) != int(sender.address, 16):
        raise PreflightError(
            f"deployer: the key belongs to {sender.address}, the config asks for {config.deployer}"
        )
    if sender.rpc.balance(sender.address) == 0:
        raise PreflightError(f"deployer {sender.address} has no balance to pay for gas")
    problems: list[str] = []
    for field, token in _tokens(config):
        if token.address is not None:
            problems += _decimals(sender, field, token.address, token.decimals)
    now = timestamp(sender)
    for field, feed, max_age in _feeds(config):
        if feed.address is not None:
            problems += _feed(sender, field, feed, now, max_age)
    uptime = config.guards.sequencer_feed
    if uptime is not None and _read(sender, uptime, _ROUND) is None:
        problems.append(f"guards.sequencer_feed: {uptime} gives no latestRoundData()")
    if problems:
        raise PreflightError("\n".join(problems))


def timestamp(sender: Sender) -> int:
    """Time of the latest block."""
    block = sender.rpc.call("eth_getBlockByNumber", "latest", False)
    return int(block["timestamp"], 16)


def _tokens(config: DeployConfig) -> Iterable[tuple[str, Token]]:
    yield "cash", config.cash
    for j, collateral in enumerate(config.collaterals):
        yield f"collaterals[{j}].token", collateral.token


def _feeds(config: DeployConfig) -> Iterable[tuple[str, Feed, int]]:
    ages = {u.name: u.max_age_seconds for u in config.underlyings}
    for i, underlying in enumerate(config.underlyings):
        yield f"underlyings[{i}].feed", underlying.feed, underlying.max_age_seconds
    for j, collateral in enumerate(config.collaterals):
        if collateral.rate_feed is not None:
            yield f"collaterals[{j}].rate_feed", collateral.rate_feed, ages[collateral.underlying]


def live_price(sender: Sender, address: str, decimals: int) -> int:
    """The answer of a feed in WAD, rounded down."""
    answer = _read(sender, address, _ROUND)
    if answer is None:
        raise PreflightError(f"feed {address} gives no latestRoundData()")
    scale: int = 10**decimals
    return int(answer[1]) * _WAD // scale


def _read(sender: Sender, address: str, call: Function) -> list[Any] | None:
    try:
        return call.decode(sender.rpc.eth_call(address, call.encode()))
    except (RpcError, AbiError):
        return None


def _decimals(sender: Sender, field: str, address: str, expected: int) -> list[str]:
    if not sender.rpc.code(address):
        return [f"{field}.address: no contract at {address}"]
    answer = _read(sender, address, _DECIMALS)
    if answer is None:
        return [f"{field}.address: {address} has no decimals()"]
    if answer[0] != expected:
        return [f"{field}.decimals: {expected} in the config, {answer[0]} on chain"]
    return []


def _feed(sender: Sender, field: str, feed: Feed, now: int, max_age: int) -> list[str]:
    assert feed.address is not None
    problems = _decimals(sender, field, feed.address, feed.decimals)
    if problems:
        return problems
    answer = _read(sender, feed.address, _ROUND)
    if answer is None:
        return [f"{field}.address: {feed.address} gives no latestRoundData()"]
    scale = 10**feed.decimals
    low, high = int(feed.min_price * scale), int(feed.max_price * scale)
    if not low <= answer[1] <= high:
        limits = f"[{low}, {high}] (at {feed.decimals} decimals)"
        return [f"{field}: the live answer {answer[1]} is outside the limits {limits}"]
    age = now - answer[3]
    if not 0 <= age <= max_age:
        return [
            f"{field}: the live answer is {age} s old, the limit is max_age_seconds = {max_age}"
        ]
    return []
