"""docs/deployment.md names every field of the configuration."""

from __future__ import annotations

import re

from pydantic import BaseModel

from risk.deploy import config
from tests.deploy.support import ROOT


def test_every_field_is_documented() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text()
    models = [m for m in vars(config).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    fields = {name for model in models for name in model.model_fields}
    assert len(fields) > 40
    missing = [f for f in sorted(fields) if not re.search(rf"[`.]{f}(\[\])?[`. ]", text)]
    assert not missing
