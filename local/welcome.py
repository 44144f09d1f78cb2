"""The words that tell people where everything is, once it answers."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from local.plan import HOST

if TYPE_CHECKING:
    from local.plan import Plan

TELEMETRY = '{"temperature": 21.5}'


def welcome(plan: Plan) -> str:
    """Return the block to show: addresses, credentials and one command to paste.

    A password from the user's own environment is named, not shown.
    """
    user = {name: plan.credentials[name] for name in ("MQTT_USERNAME", "DASHBOARD_USERNAME")}
    return "\n".join([
        "",
        f"  Dashboard   {plan.dashboard_url}",
        f"              user {user['DASHBOARD_USERNAME']}, password {_shown(plan, 'DASHBOARD_PASSWORD')}",
        f"  Broker      {plan.broker_url}",
        f"              user {user['MQTT_USERNAME']}, password {_shown(plan, 'MQTT_PASSWORD')}",
        "  Try it      " + publish_command(plan),
        *_gateway_lines(plan),
        "",
        f"  Ctrl-C stops everything; data and passwords stay in {_relative(plan)}/.",
        "",
    ])  # fmt: skip


def _gateway_lines(plan: Plan) -> list[str]:
    if plan.gateway_control is None:
        return []
    command = [sys.executable, "-m", "emulator", "gateway", "--control", str(plan.gateway_control), "status"]
    return [
        "  Gateway     in front of the brokers; deploys every minute (local/platform.schedule)",
        "              " + shlex.join(command),
        "              or deploy, restart, scale 5, kill tcp-1, stop tcp-1, cont tcp-1",
    ]


def publish_command(plan: Plan) -> str:
    """Return a mosquitto_pub command line that works as it is."""
    password = (
        '"$MQTT_PASSWORD"' if "MQTT_PASSWORD" in plan.provided else shlex.quote(plan.credentials["MQTT_PASSWORD"])
    )
    return (
        f"mosquitto_pub -h {HOST} -p {plan.ports['tcp']} -u {shlex.quote(plan.credentials['MQTT_USERNAME'])} "
        f"-P {password} -q 1 -t devices/my-device/telemetry -m '{TELEMETRY}'"
    )


def _shown(plan: Plan, name: str) -> str:
    return f"as in your {name}" if name in plan.provided else plan.credentials[name]


def _relative(plan: Plan) -> str:
    return str(plan.data.relative_to(plan.root) if plan.data.is_relative_to(plan.root) else plan.data)
