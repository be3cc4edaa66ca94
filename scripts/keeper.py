"""``brownie run keeper --network NAME``: the liquidation keeper, docs/keeper.md.

    brownie run keeper main CONFIG [live] [once] --network NAME

CONFIG is the keeper's own TOML file: endpoints and key stand there, Brownie's accounts are not
used. Without ``live`` it is a dry run. The work is done in ``risk/keeper``; this is the same as
``plumbline keeper run``.
"""

from risk.deploy import brownie_tasks


def main(config, *flags):
    """Runs until it is stopped; raises SystemExit with the keeper's exit code."""
    code = brownie_tasks.keeper(config, *flags)
    if code:
        raise SystemExit(code)
