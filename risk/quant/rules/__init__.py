"""Margin rule sets of others, and ours, on the same portfolios: `risk.quant.efficiency` compares.

Each module is one rule set with its parameters and their source. All speak of one day's market
(`rolling_margin.Day`) and give the requirement on top of mark-to-market equity, in USD: a loss of
value beyond it is an exception. What a rule set has and these models leave out is said in the
docstring of its module.
"""
