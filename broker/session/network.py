"""What a client needs of its socket; `broker.net` brings it."""

from __future__ import annotations

from typing import Any, Protocol


class Network(Protocol):
    """The socket of a client, as far as the client cares."""

    is_writable: bool

    def wake(self) -> None:
        """Send what has been put into the client's output, at the end of this loop turn."""

    def close(self) -> None:
        """Send what is in the output, then close the socket."""

    async def room(self) -> None:
        """Return when the socket takes more."""

    def hold_reading(self) -> None:
        """Read nothing more from this client."""

    def release_reading(self) -> None:
        """Read on, unless the server reads from nobody."""

    def get_extra_info(self, name: str) -> Any:
        """Return what the socket's transport knows, as `asyncio.BaseTransport.get_extra_info`."""
