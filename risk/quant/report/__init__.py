"""One self-contained HTML report for a risk committee: `collect` → `figures` → `render`."""
