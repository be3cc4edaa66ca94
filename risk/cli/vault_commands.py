"""Commands about one vault on a chain: deploy it, explain an account, watch.

Only options and texts; what a command does is in the file of its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risk.cli.options import Json, exits
from risk.cli.watch import watch

app = typer.Typer()
app.command(
    short_help="Accounts near their limits and the keeper, live.",
    epilog="Exit codes: 0 seen, or ended by the user; 75 with --once: nothing current; others in "
    "docs/keeper.md.",
)(watch)


@app.command(
    short_help="Deploy the whole system from one configuration file.",
    epilog=exits("done and read back", "it failed", "wrong use, or the configuration is wrong"),
)
def deploy(
    config: Annotated[
        Path, typer.Option(metavar="FILE", help="Typed configuration file (TOML or JSON).")
    ],
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="Endpoint to deploy to.")] = None,
    node: Annotated[
        str | None, typer.Option(help="Start a node of our own: anvil or ganache.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 0,
    serve: Annotated[bool, typer.Option(help="Keep that node running until interrupted.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the deployment record goes.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Overwrite an existing record.")] = False,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Private key (hex) or keystore.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Password of the keystore.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Unlocked account of the node.")] = None,
    check: Annotated[bool, typer.Option(help="Check the configuration only.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Gas and cost on a private fork; sends nothing.")
    ] = False,
    complete_handover: Annotated[
        bool, typer.Option(help="Second half of a two-step hand-over.")
    ] = False,
    json: Json = None,
) -> None:
    """Deploy the whole system from one configuration file and record it."""
    from risk.cli.deploy import run_deploy
    from risk.deploy.cli import DeployOptions

    options = DeployOptions(
        config=config,
        rpc=rpc,
        node=node,
        port=port,
        serve=serve,
        out=out,
        replace=replace,
        key_file=key_file,
        password_file=password_file,
        account=account,
        json_output=json is not None,
        check=check,
        dry_run=dry_run,
        complete_handover=complete_handover,
    )
    raise typer.Exit(run_deploy(options, json))


@app.command(
    short_help="Say where the margin of an account comes from.",
    epilog=exits("explained"),
)
def explain(
    rpc: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Endpoint of a node: http(s)://… or a Unix socket."),
    ] = None,
    vault: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of the vault.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="OWNER, OWNER:SUB or the 21-byte account id in hex.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Explain a case of this vector file instead."),
    ] = None,
    case: Annotated[int, typer.Option(min=0, help="Number of the case in the vector file.")] = 0,
    json: Json = None,
) -> None:
    """Say where the margin of an account comes from, row by row."""
    from risk.cli.explain import explain_command

    raise typer.Exit(explain_command(rpc, vault, account, vectors, case, json))
