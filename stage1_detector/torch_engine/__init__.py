"""How our own loop trains: the photos it shows, its schedule and optimiser, its processes, what it logs and keeps.

Knows nothing about the networks that it trains.
"""
