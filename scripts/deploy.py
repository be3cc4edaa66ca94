"""``brownie run deploy --network anvil``: deploys the whole system from one configuration file.

    brownie run deploy [main] [CONFIG] [ACCOUNT] --network NAME
    brownie run deploy dry_run [CONFIG] [ACCOUNT] --network NAME
    brownie run deploy complete_handover CONFIG [ACCOUNT] --network NAME
    brownie run deploy check [CONFIG] --network NAME

A run that was interrupted is continued by the same command.  ACCOUNT is a number
(``accounts[n]``) or the id of a stored Brownie account.  The work is done in ``risk/deploy``.
"""

from risk.deploy import brownie_tasks


def main(config="configs/local.toml", account="0"):
    """Deploys, reads everything back and writes deployments/<name>-<chain id>.json."""
    return brownie_tasks.deploy_system(config, account)


def dry_run(config="configs/local.toml", account="0"):
    """Deploys on a private fork of the network and prints gas and cost; sends nothing."""
    return brownie_tasks.dry_run(config, account)


def complete_handover(config, account="0"):
    """Completes a two-step hand-over that the new owner has asked for."""
    return brownie_tasks.complete_handover(config, account)


def check(config="configs/local.toml"):
    """Checks the configuration and prints the exact parameters; sends nothing."""
    return brownie_tasks.check_config(config)
