"""Peers side by side, in one run, on one machine: only the ratios travel."""
