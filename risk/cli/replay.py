"""``plumbline replay``."""

from __future__ import annotations

from pathlib import Path

from risk.cli.output import guarded, stderr, stdout, tell, write_json

SHOWN = 40  # differences printed; the JSON has all


def replay_command(file: Path, data: Path | None, json: Path | None, rpc: str | None = None) -> int:
    """0: the same, byte for byte; 1: not; 2: the file, its data or the node cannot be read."""
    return guarded(lambda: _replay(file, data, json, rpc))


def _replay(file: Path, data: Path | None, json: Path | None, rpc: str | None) -> int:
    from risk.quant.book_chain import reread
    from risk.quant.replay import again

    at = None if rpc is None else (lambda book: reread(rpc, book))
    found = again(file, data, tell, at)
    for remark in found.remarks:
        stderr().print(f"other than recorded: {remark}", highlight=False, soft_wrap=True)
    write_json(
        json,
        {
            "same": not found.differences,
            "differences": list(found.differences),
            "remarks": list(found.remarks),
        },
    )
    if not found.differences:
        stdout().print(f"{file}: made again, the same byte for byte")
        return 0
    for line in found.differences[:SHOWN]:
        stdout().print(line, highlight=False, markup=False, soft_wrap=True)
    if len(found.differences) > SHOWN:
        stdout().print(f"… {len(found.differences) - SHOWN} more")
    return 1
