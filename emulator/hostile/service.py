"""Whether the broker does all it is for: connect, subscribe, publish, receive, retain, and continue a session."""

from __future__ import annotations

import http.client
import secrets
from typing import TYPE_CHECKING

from emulator.hostile.client import Client, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.hostile.target import Target


def check(target: Target) -> str:
    """Return "" when all is well, else the step that failed and why; each answer may take 5 s."""
    name = f"service-{secrets.token_hex(4)}"
    for step, check_step in STEPS.items():
        try:
            check_step(target, name)
        except ServiceError as error:
            return f"{step}: {error}"
    return ""


def check_dashboard(target: Target) -> str:
    """Return "" when /healthz answers 200 within 5 s, else why not."""
    connection = http.client.HTTPConnection(*target.dashboard, timeout=5)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"/healthz: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"/healthz: {status}"


def _clean(target: Target, name: str) -> None:
    with Client(target, name) as client:
        client.subscribe(f"devices/{name}/#", 2)
        for qos in (1, 2):
            payload = b"qos %d" % qos
            client.publish(f"devices/{name}/telemetry", payload, qos)
            _expect(client, payload)
        client.leave()


def _persistent(target: Target, name: str) -> None:
    topic = f"devices/{name}/later"
    with Client(target, f"{name}-p", is_clean=True, expiry_s=600) as client:
        client.subscribe(topic, 1)
        client.leave(expiry_s=600)
    with Client(target, name) as client:
        client.publish(topic, b"later", 1)
        client.leave()
    with Client(target, f"{name}-p", is_clean=False, expiry_s=600) as client:
        if not client.is_session_present:
            raise ServiceError("the session is not there any more")
        _expect(client, b"later")
        client.leave(expiry_s=0)


def _retained(target: Target, name: str) -> None:
    topic = f"devices/{name}/retained"
    with Client(target, name) as client:
        client.publish(topic, b"kept", 1, is_retained=True)
        client.subscribe(topic, 1)
        _expect(client, b"kept")
        client.publish(topic, b"", 1, is_retained=True)
        _expect(client, b"")
        client.subscribe(topic, 1)
        client.publish(topic, b"end", 1)
        _expect(client, b"end")  # not the retained one, which was cleared
        client.leave()


def _expect(client: Client, payload: bytes) -> None:
    message = client.receive()
    if message.payload != payload:
        raise ServiceError(f"{message.payload[:40]!r} came, not {payload!r}")


STEPS: dict[str, Callable[[Target, str], None]] = {
    "clean session": _clean,
    "persistent session": _persistent,
    "retained message": _retained,
}
