"""amqtt's packaged plugins, corrected where they let more through than their configuration says.

- Access lists: `dev/+` in a list allows SUBSCRIBE to `dev/#`, because the filter's own wildcard is compared as a level.
  Both functions that compare are replaced, so that subclasses and the JWT, LDAP and database plugins are right too.
- TopicAccessControlListPlugin reads `subscribe_acl` and `receive_acl`, but its Config refuses them.
- The LDAP plugins put the user name into a search filter unescaped (RFC 4515 §3) and try to bind with an empty password,
  to which servers answer success (RFC 4513 §5.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from amqtt.plugins import TopicMatcher
from amqtt.plugins.topic_checking import TopicAccessControlListPlugin

if TYPE_CHECKING:
    from amqtt.plugins.base import BasePlugin
    from amqtt.session import Session

LDAP_MODULE = "amqtt.contrib.ldap"
LDAP_FILTER_SPECIALS = frozenset("*()\\\0")


@dataclass
class TopicAccessControlListConfig:
    """Topic filters that each user may use; "anonymous" stands for clients without a user name.

    publish_acl empty: everybody may publish. receive_acl None: whoever may subscribe may receive.
    """

    publish_acl: dict[str, list[str]] = field(default_factory=dict)
    subscribe_acl: dict[str, list[str]] = field(default_factory=dict)
    receive_acl: dict[str, list[str]] | None = None
    acl: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.acl and not self.subscribe_acl:  # its old name; with both of them the plugin refuses to start
            self.subscribe_acl, self.acl = self.acl, {}


def covers(requested: str, allowed_filter: str) -> bool:
    """Tell whether every topic name that `requested` (a topic name or filter) stands for matches `allowed_filter`.

    covers("dev/1", "dev/+")   covers("dev/+", "dev/#")   covers("dev", "dev/#")   not covers("dev/#", "dev/+")
    """
    if requested.startswith("$") and allowed_filter[:1] in ("#", "+"):
        return False  # [v5 MQTT-4.7.2-1]
    for wanted, allowed in zip_longest(requested.split("/"), allowed_filter.split("/")):
        if allowed == "#":
            return True
        if wanted is None or allowed is None or wanted == "#":
            return False
        if allowed not in ("+", wanted):
            return False
    return True


def correct_packaged_plugins() -> None:
    """Put the corrections in place, for the whole process. Calling it again changes nothing."""
    TopicMatcher.is_topic_allowed = staticmethod(covers)
    TopicAccessControlListPlugin.topic_ac = staticmethod(covers)
    TopicAccessControlListPlugin.Config = TopicAccessControlListConfig


def is_safe_to_ask(plugin: BasePlugin[object], session: Session) -> bool:
    """Tell whether a plugin may see this session's credentials; where not, its answer counts as no."""
    if all(base.__module__ != LDAP_MODULE for base in type(plugin).__mro__):
        return True
    return bool(session.username and session.password) and not LDAP_FILTER_SPECIALS & set(session.username or "")


def checks_receive(plugin: BasePlugin[object]) -> bool:
    """Tell whether a topic plugin can refuse RECEIVE, so that deliveries have to wait for its answer."""
    if isinstance(plugin, TopicAccessControlListPlugin):
        has_list: bool = plugin.config.receive_acl is not None
        return has_list
    return True
