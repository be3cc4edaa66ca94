"""Construction, evidence and quantisation of the joint scenario set (docs/scenarios.md).

`factors` risk factors from prices, `book` instruments and their float values, `stress` reserved
scenarios, `fit` the free ones, `coverage` ES against scan, `adversary` the worst portfolio, `exact`
the crossing into the exact world, `certificate` all of it in one JSON, `rolling` the backtest.

The *shape* of a scenario is in standard units per underlying: y (log price move over the margin
period in units of its forecast volatility) and q (log volatility move in units of its own
deviation). Shocks are x = exp(σ·y) - 1 and v = exp(τ·q) - 1 with the scales (σ, τ) of the day.
"""
