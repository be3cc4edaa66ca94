"""``plumbline deploy``: passes the options on, and puts the JSON result into a file."""

from __future__ import annotations

import contextlib
import io
import json as json_module
from pathlib import Path

from risk.cli.output import write_json
from risk.deploy.cli import DeployOptions, deploy_command


def run_deploy(options: DeployOptions, json: Path | None) -> int:
    """Exit code of the deployment."""
    if json is None:
        return deploy_command(options)
    captured = io.StringIO()
    with contextlib.redirect_stdout(captured):
        code = deploy_command(options)
    text = captured.getvalue().strip()
    if text:
        write_json(json, json_module.loads(text))
    return code
