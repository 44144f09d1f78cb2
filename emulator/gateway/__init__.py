"""The platform's TCP Gateway on one machine: real `tcp` processes, started, balanced, replaced and killed as there."""
