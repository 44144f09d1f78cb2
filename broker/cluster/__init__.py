"""This process among others: its id, its heartbeat, which devices are connected here."""
