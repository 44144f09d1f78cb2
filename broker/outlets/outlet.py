"""What an outlet is: another database that messages of the log are written to (docs/decisions/0008)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from store.model import Message, MessageId
    from store.outlet_state import OutletSize

    LoggedMessage = tuple[MessageId, str, Message]
    """A message with its id and its device's."""

BATCH_MESSAGES = 4096


class Outlet(Protocol):
    """Written to by one `OutletRunner`, which calls nothing while another call is under way.

    `name`: as in `store.outlet_state`. `size`: what it holds, as it last looked. `left_out`: messages that it will never
    take, since it was made.
    Any exception means "not done": the runner calls `close`, waits, and begins again with `open`.
    """

    name: str
    size: OutletSize
    left_out: int

    async def open(self) -> None:
        """Connect, and create there what is missing."""

    async def write(self, messages: list[LoggedMessage]) -> None:
        """Write messages, in the order of the log, BATCH_MESSAGES at most; return when they are durable.

        All of them may come again, and more behind them: what is written already has to stay as it is.
        """

    async def close(self) -> None:
        """End what `open` began, or tried to. Raises nothing."""
