"""What the risk commands take from a deployment's configuration."""

from __future__ import annotations

from pathlib import Path


def chosen_assets(assets: str | None, config: Path | None) -> str | None:
    """Names with commas: those given, else the underlyings of the configuration in its order, else
    none.  `ConfigError` for a configuration that cannot be read.
    """
    if assets is not None or config is None:
        return assets
    from risk.deploy.config import load_config

    return ",".join(u.name for u in load_config(config).underlyings)
