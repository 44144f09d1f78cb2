"""Move messages between installations, and check that nothing is missing: what `python -m store` does (docs/export.md).

A room of its own because it needs two others: it reads and writes the stores as the broker's projector and outlet do.
Everything is streamed: what a device or a fleet holds is never in memory whole.
"""
