"""The attacks. A module holds those of one kind, and its table of scenarios."""
