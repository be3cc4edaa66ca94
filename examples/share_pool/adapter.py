"""SharePool against a model of what its documentation promises. Run it with

plumbline diff examples/share_pool/adapter.py
"""

from pathlib import Path

from model import SharePoolModel

from risk.diff.kit.adapter import Adapter, Step
from risk.diff.kit.artifacts import from_sources

LIMIT = 10**30


class SharePoolAdapter(Adapter[SharePoolModel]):
    name = "share_pool"
    roles = ("alice", "bob")
    kinds = ("deposit", "redeem", "borrow", "repay")

    def artifacts(self):  # or from_folder("out") for Foundry, Hardhat, Brownie
        return from_sources(Path(__file__).parent, ["src/SharePool.sol"], solc="0.8.37")

    def world(self, draw):
        return {"seed_deposit": draw.integer(0, 10**24)}

    def deploy(self, chain, world):
        pool = chain.deploy("SharePool")
        chain.must(pool, "deposit", world["seed_deposit"], sender="bob")

    def model(self, chain, world):
        model = SharePoolModel(chain.engine.time())
        model.deposit("bob", world["seed_deposit"])
        return model

    def propose(self, draw, model, world):
        kind, user = draw.choice(self.kinds), draw.choice(self.roles)
        edges = {
            "deposit": [model.total_assets],
            "redeem": [model.shares.get(user, 0)],
            "borrow": [model.limit(user) - model.debt.get(user, 0)],
            "repay": [model.debt.get(user, 0)],
        }[kind]
        high = max(1, 2 * edges[0]) if kind != "deposit" else LIMIT
        return Step(kind, user, (draw.integer(0, high, edges),), wait=draw.integer(0, 86_400))

    def call_of(self, chain, step):
        return chain["SharePool"], step.kind, step.arguments

    def observe_model(self, model):
        seen = {"total_assets": model.total_assets, "total_shares": model.total_shares}
        seen |= {f"shares[{user}]": model.shares.get(user, 0) for user in self.roles}
        return seen | {f"debt[{user}]": model.debt.get(user, 0) for user in self.roles}

    def observe_chain(self, chain):
        pool, users = chain["SharePool"], [(chain.role(user),) for user in self.roles]
        asked = [(pool, "totalAssets", ()), (pool, "totalShares", ())]
        asked += [(pool, "sharesOf", user) for user in users]
        asked += [(pool, "debtOf", user) for user in users]
        names = ["total_assets", "total_shares"]
        names += [f"{what}[{user}]" for what in ("shares", "debt") for user in self.roles]
        return dict(zip(names, chain.views(asked), strict=True))
