"""Whom a run attacks."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The broker with its credentials, and the dashboard (port 0: none)."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    dashboard_host: str = ""
    dashboard_port: int = 0

    @property
    def credentials(self) -> dict[str, str]:
        """The credentials as CONNECT takes them."""
        return {"username": self.username, "password": self.password}

    @property
    def broker(self) -> tuple[str, int]:
        """The broker's address."""
        return self.host, self.port

    @property
    def dashboard(self) -> tuple[str, int]:
        """The dashboard's address."""
        return self.dashboard_host, self.dashboard_port


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of a literal address, IPv4 for names."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
