"""``brownie run liquidate main VAULT ACCOUNT``: quotes an account and takes the largest slice.

    brownie run liquidate main VAULT ACCOUNT [FROM] [SUB] [FRACTION] [SLIPPAGE_BPS] --network NAME
    brownie run liquidate quote VAULT ACCOUNT --network NAME

VAULT is an address or a deployment record; ACCOUNT is 0xOWNER:SUB.  FROM is a number or the id of a
stored Brownie account, SUB its sub-account that takes the slice.  The work is done in
``risk/deploy``.
"""

from risk.deploy import brownie_tasks


def main(vault, account, sender="0", sub="0", fraction="max", slippage_bps="50"):
    """Quotes, simulates, bounds the payment and liquidates."""
    return brownie_tasks.liquidate(vault, account, sender, sub, fraction, slippage_bps)


def quote(vault, account):
    """Prints what the account is worth and what a slice would cost."""
    return brownie_tasks.quote(vault, account)
