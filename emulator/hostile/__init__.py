"""Attacks on a running broker and its dashboard, each judged by a bystander: `python -m emulator hostile`."""
