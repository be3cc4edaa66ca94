"""Names of the small protocol that every world deploys, and their ids.

Four assets: A0 and A1 are bases and collaterals, A2 only a collateral, A3 a collateral that never
got a join. Three series: S0 and S1 of base A0, S2 of base A1.
"""

from __future__ import annotations

ROLES = ("owner", "alice", "bob", "carol")
USERS = ROLES[1:]

ASSETS = ("A0", "A1", "A2", "A3")
JOINED = ASSETS[:3]
BASES = ("A0", "A1")
SERIES = {"S0": "A0", "S1": "A0", "S2": "A1"}  # series -> base
ILKS = (
    ("S0", "A0"),
    ("S0", "A1"),
    ("S0", "A2"),
    ("S0", "A3"),
    ("S1", "A1"),
    ("S1", "A2"),
    ("S2", "A0"),
    ("S2", "A2"),
)
#: (base, ilk) that have a price, limits and a line
PAIRS = tuple(sorted({(SERIES[s], ilk) for s, ilk in ILKS}))
JOIN_NAMES = tuple(f"join {a}" for a in JOINED)
FY_NAMES = tuple(f"fy {s}" for s in SERIES)
#: accounts that hold tokens beside the roles, in the order of the lens
OTHERS = ("ladle", "witch", *FY_NAMES, *JOIN_NAMES)

NOWHERE = 0xDEAD << 80  # id of a vault that does not exist


def bytes6(name: str) -> int:
    """Id of an asset or series: its name's bytes, left-aligned; the empty name is the zero id."""
    return int.from_bytes(name.encode().ljust(6, b"\0"), "big")


def bytes32(name: str) -> int:
    """The same in 32 bytes."""
    return int.from_bytes(name.encode().ljust(32, b"\0"), "big")
