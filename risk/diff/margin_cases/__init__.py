"""Millions of margin cases of our vault: ``margin(account)`` on an engine against the model.

``market.py`` makes markets, ``accounts.py`` accounts, ``words.py`` their storage words,
``stand.py`` puts a market on an engine, ``model.py`` answers for the reference model, ``check.py``
compares the cases of one market, ``run.py`` runs many and ``speeds.py`` measures.
"""
