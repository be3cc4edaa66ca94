"""The audit sees what it is there for."""

from __future__ import annotations

import pytest

from tests.keeper_faults.home import PASSWORD, Home
from tests.keeper_faults.scene import KEEPER, SECRET, Scene
from tests.market.market_twin import key_address

pytestmark = pytest.mark.chain


def liquidate(scene: Scene, victim: int) -> None:
    """With the keeper's key, past its journal."""
    data = scene.liquidation(victim, KEEPER)
    sent = scene.send(KEEPER.address, scene.market.world.vault, data)
    scene.mine()
    assert scene.rpc.receipt(sent)["status"] == "0x1"


def test_accounts_that_are_left_or_taken_twice(home: Home, scene: Scene) -> None:
    scene.crash()
    liquidate(scene, scene.weak[0])
    with pytest.raises(AssertionError):
        home.audit()
    for victim in scene.weak[1:]:
        liquidate(scene, victim)
    with pytest.raises(AssertionError, match="no journal has"):
        home.audit()
    scene.price(2_000)
    liquidate(scene, scene.weak[0])
    with pytest.raises(AssertionError):
        home.audit()
    scene.price(3_000)
    with pytest.raises(AssertionError, match="or twice"):
        home.audit()


def test_a_nonce_that_nobody_journalled(home: Home, scene: Scene) -> None:
    scene.send(KEEPER.address, key_address(KEEPER), b"")
    scene.mine()
    with pytest.raises(AssertionError, match="no journal has"):
        home._audit_nonces([])
    home._audit_nonces([scene.nonce])


@pytest.mark.parametrize("secret", [SECRET.hex(), SECRET.hex().upper(), PASSWORD, "pr0xy-s3cr3t"])
def test_secrets(home: Home, secret: str) -> None:
    home.audit_secrets()
    place = home.folder / "state" / "database"
    place.parent.mkdir()
    place.write_bytes(b"\0\1" + secret.encode() + b"\xff")
    with pytest.raises(AssertionError, match="a secret in"):
        home.audit_secrets()
