"""Pages of devices, and the parts of them that are asked for again. Ids travel in the query: they hold any characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for

from store.model import OTHER_DEVICES
from store.times import parse_time_ms, rfc3339
from web import current, payloads
from web.devices import message_page
from web.devices.message_page import NEWEST_AT_ONCE, MessageQuestion

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as BaseResponse

    from store.answers import Device, Status, StoredMessage

blueprint = Blueprint("devices", __name__)
DEVICES_A_PAGE = 50
STATUSES = ("online", "offline", "quiet")
SORTS = ("last_seen", "name")


@dataclass(frozen=True)
class ListQuestion:
    """What the address of the list asks for; what cannot be used counts as not asked."""

    search: str
    status: Status | None
    sort: Literal["last_seen", "name"]
    cursor: str | None

    @classmethod
    def of_request(cls) -> ListQuestion:
        """Read the address of this request."""
        status, sort = request.args.get("status"), request.args.get("sort")
        return cls(
            search=request.args.get("search", "").strip(),
            status=cast("Status", status) if status in STATUSES else None,
            sort="name" if sort == "name" else "last_seen",
            cursor=request.args.get("cursor") or None,
        )


@blueprint.get("/devices")
def page() -> str:
    """Show the list, searched, filtered, sorted and paged by the store; only its table when htmx asks."""
    question = ListQuestion.of_request()
    try:
        found = current.query().devices(
            question.search, question.status, DEVICES_A_PAGE, question.cursor, sort=question.sort
        )
    except ValueError:  # a cursor of another list, or made up
        abort(400, "This cursor belongs to no page of the list. Begin again with the first page.")
    template = "devices/list_part.html" if "HX-Request" in request.headers else "devices/list.html"
    return render_template(template, question=question, found=found)


@blueprint.get("/device")
def device() -> str:
    """Show one device."""
    found = _device()
    fields = current.query().numeric_fields(found.id)
    return render_template(
        "devices/device.html", device=found, fields=fields, other_devices=OTHER_DEVICES, **_messages(found)
    )


@blueprint.get("/device/state")
def state() -> str:
    """Show a device's presence, values and topics."""
    return render_template("devices/state.html", device=_device())


@blueprint.get("/device/messages")
def messages() -> str:
    """Show a page of a device's messages."""
    found = _device()
    return render_template("devices/messages.html", device=found, **_messages(found))


@blueprint.get("/device/messages/newer")
def newer_messages() -> str:
    """Show the rows that came after the message `after`, newest first; nothing where none came."""
    device_id, question = request.args.get("id", ""), MessageQuestion.of_request()
    found = question.ask(device_id, NEWEST_AT_ONCE, after=question.after)
    return render_template("devices/message_rows.html", device_id=device_id, rows=found.rows)


@blueprint.get("/device/message")
def message() -> str:
    """Show one payload as `view` (json, text or hex) asks, cut where it is long."""
    found = _message()
    shown = payloads.show(found.payload, request.args.get("view", "json"))
    return render_template("devices/payload.html", message=found, shown=shown, device_id=found.device_id)


@blueprint.get("/device/message/payload")
def download() -> Response:
    """Hand over one payload whole, as a file."""
    found = _message()
    response = Response(found.payload, mimetype="application/octet-stream")
    response.headers.set("Content-Disposition", "attachment", filename=f"message-{found.id}.bin")
    return response


@blueprint.get("/devices/export")
def export() -> BaseResponse:
    """Send the form's export to the API; its times are without a zone, and meant as UTC."""
    names = ("format", "device", "search", "topic", "from", "to")
    wanted = {name: request.args[name] for name in names if request.args.get(name)}
    for name in ("from", "to"):
        if name in wanted:
            wanted[name] = _utc(wanted[name])
    return redirect(url_for("api.export", **wanted))  # type: ignore[arg-type]  # names that are not its own options


def _utc(text: str) -> str:
    try:
        return rfc3339(parse_time_ms(f"{text}Z"))
    except ValueError:
        abort(400, f"{text} is no time as in 2026-01-31T12:00.")


def _device() -> Device:
    found = current.query().device(request.args.get("id", ""))
    return found if found is not None else abort(404)


def _message() -> StoredMessage:
    message_id = message_page.message_id("message")
    found = message_id and current.query().message(request.args.get("id", ""), message_id)
    return found or abort(404)


def _messages(device: Device) -> dict[str, object]:
    return {"page": message_page.find(device.id, MessageQuestion.of_request()), "newest_at_once": NEWEST_AT_ONCE}
