"""Command line of Plumbline: the commands of the files below, in the order of ``--help``.

Nothing heavy is imported before a command runs, so ``--help`` is quick.  Progress goes to stderr,
results to stdout; the exit code is 0 only if all is well.
"""

from __future__ import annotations

import typer

from risk.cli.bench import app as bench_app
from risk.cli.keeper import app as keeper_app
from risk.cli.mutate import app as mutate_app
from risk.cli.proof_commands import app as proof_app
from risk.cli.proposal_commands import app as proposal_app
from risk.cli.risk_commands import app as risk_app
from risk.cli.solcov import app as solcov_app
from risk.cli.vault_commands import app as vault_app

app = typer.Typer(
    name="plumbline",
    help="Cross-margin vault and its bit-exact reference model: prove, measure, explain, deploy.",
    epilog="Exit codes: 0 all is well; 1 something was found; 2 wrong use, or the run failed. The "
    "--help of each command says its own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(proof_app)
app.add_typer(mutate_app, name="mutate", short_help="Plant faults in the contracts: who notices?")
app.add_typer(solcov_app, name="solcov", short_help="Coverage of Solidity lines and branches.")
app.add_typer(vault_app)
app.add_typer(keeper_app, name="keeper")
app.add_typer(risk_app)
app.add_typer(proposal_app)
app.add_typer(bench_app, name="bench")


if __name__ == "__main__":
    app()
