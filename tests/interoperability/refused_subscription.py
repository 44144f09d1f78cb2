"""The one right that interoperability suites want refused, as a plugin: SUBSCRIBE to `test/nosubscribe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtt.contexts import Action
from amqtt.plugins.base import BaseTopicPlugin

if TYPE_CHECKING:
    from amqtt.session import Session

REFUSED = (Action.SUBSCRIBE, "test/nosubscribe")


class RefusedSubscription(BaseTopicPlugin):
    """Allows everything else."""

    async def topic_filtering(
        self,
        *,
        session: Session | None = None,  # noqa: ARG002  amqtt gives it
        topic: str | None = None,
        action: Action | None = None,
    ) -> bool:
        return (action, topic) != REFUSED
