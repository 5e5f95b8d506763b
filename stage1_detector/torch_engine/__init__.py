"""How our own loop trains: the photos it shows, its schedule and optimiser, what it keeps and writes, and with whom.

Knows nothing about the networks that it trains.
"""
