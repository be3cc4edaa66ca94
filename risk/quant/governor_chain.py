"""Limits and addresses of a deployed governor at a block: what a proposal has to keep to."""

from __future__ import annotations

from risk.quant.errors import QuantError
from risk.quant.recommend import Governor


def governor_at(endpoint: str, governor: int, timelock: int, block: int, time: int) -> Governor:
    """The configuration of the governor at the end of `block`, whose time is `time`, with the
    anchor where a steward's period is running then, and the delay of the timelock (0: not known,
    the default stays).

    `QuantError` where there is no such contract, or where a ramp is running: the governor would
    refuse any proposal.
    """
    from risk.chain.abi import AbiError, function, functions
    from risk.chain.compile import compile_contracts
    from risk.chain.node import project_root
    from risk.chain.rpc import Rpc
    from risk.errors import RevertError

    at = f"0x{governor:040x}"
    f = functions(compile_contracts(project_root())["IRiskGovernor"].abi)
    with Rpc.connect(endpoint) as client:
        try:
            config, (anchor, since), ramp = (
                f[name].decode(client.eth_call(at, f[name].encode(), block=block, gas=10**9))
                for name in ("config", "stewardPeriod", "ramp")
            )
        except (AbiError, RevertError, IndexError) as error:
            raise QuantError(f"there is no governor at {at} in block {block}") from error
        delay = Governor().delay_seconds
        if timelock:
            get = function({"name": "getMinDelay", "inputs": [], "outputs": [{"type": "uint256"}]})
            to = f"0x{timelock:040x}"
            try:
                delay = int(get.decode(client.eth_call(to, get.encode(), block=block))[0])
            except (AbiError, RevertError, IndexError) as error:
                raise QuantError(f"there is no timelock at {to} in block {block}") from error
    step_seconds, min_steps, steward_bps, period, _ = (int(x) for x in config[0])
    if int(ramp[3]):
        raise QuantError(
            f"a ramp of the governor is running in block {block}, step {ramp[2]} of {ramp[3]}: "
            "it would refuse a proposal"
        )
    running = bool(anchor) and time < int(since) + period
    return Governor(
        steward_bps=steward_bps,
        min_steps=min_steps,
        step_seconds=step_seconds,
        delay_seconds=delay,
        governor=governor,
        timelock=timelock,
        anchor=bytes(anchor) if running else None,
    )
