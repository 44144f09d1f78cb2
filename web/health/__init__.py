"""Whether the process lives and whether it can serve; both without log-in, neither tells anything else."""

from web.health.routes import blueprint

__all__ = ["blueprint"]
