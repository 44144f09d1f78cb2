"""Who may see the dashboard: one operator, by user name and password, remembered in a signed cookie."""

from web.auth import ended_sessions, failed_logins, guard
from web.auth.routes import blueprint

__all__ = ["blueprint", "ended_sessions", "failed_logins", "guard"]
