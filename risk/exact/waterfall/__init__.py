"""Insurance, auto-deleveraging, socialised loss."""
