"""A payload as people and programs read it: text, JSON, hexadecimal, base64. Never a guess: what does not parse is absent."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgspec

SHOWN_TEXT_BYTES = 16 * 1024
SHOWN_HEX_BYTES = 4 * 1024
PREVIEW_CHARACTERS = 160
HEX_BYTES_A_LINE = 16


@dataclass(frozen=True)
class Shown:
    """Part of a payload on a page: `shown_bytes` of `total_bytes`, as `content` in the `view` that was possible."""

    view: str
    content: str
    shown_bytes: int
    total_bytes: int

    @property
    def is_truncated(self) -> bool:
        """Whether the page has to say that this is not all."""
        return self.shown_bytes < self.total_bytes


def text_of(payload: bytes) -> str | None:
    """Return the payload as text; None where it is not UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def json_of(payload: bytes) -> tuple[bool, Any]:
    """Return (True, value) for a payload of JSON, else (False, None)."""
    try:
        return True, msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False, None


def for_api(payload: bytes) -> dict[str, Any]:
    """Return {"text": …} for UTF-8 or else {"base64": …}; plus "json" where the text is JSON."""
    text = text_of(payload)
    if text is None:
        return {"base64": base64.b64encode(payload).decode()}
    is_json, value = json_of(payload)
    return {"text": text, "json": value} if is_json else {"text": text}


def head_of(payload: bytes, max_bytes: int) -> bytes:
    """Return at most the first `max_bytes`; of text, without half a character at the end."""
    head = payload[:max_bytes]
    if len(head) == len(payload) or text_of(payload) is None:
        return head
    return head.decode(errors="ignore").encode()


def preview(payload: bytes) -> str:
    """Return one short line: text where the payload is printable, else its first bytes in hexadecimal."""
    head = payload[: PREVIEW_CHARACTERS * 4]
    text = head.decode(errors="ignore" if len(payload) > len(head) else "replace")
    if "\ufffd" in text or not text.replace("\n", " ").replace("\t", " ").isprintable():
        return head[:48].hex(" ") + (" …" if len(payload) > 48 else "")
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else f"{line[:PREVIEW_CHARACTERS]}…"


def show(payload: bytes, view: str) -> Shown:
    """Show a payload as `json`, `text` or `hex`; where that is not possible, as the next of them that is."""
    if view == "json" and len(payload) <= SHOWN_TEXT_BYTES:
        is_json, value = json_of(payload)
        if is_json:
            return Shown("json", _indented(value), len(payload), len(payload))
    if view in ("json", "text"):
        head = payload[:SHOWN_TEXT_BYTES]
        text = head.decode(errors="ignore") if len(head) < len(payload) else text_of(head)
        if text is not None and text_of(payload) is not None:
            return Shown("text", text, len(head), len(payload))
    head = payload[:SHOWN_HEX_BYTES]
    return Shown("hex", hex_dump(head), len(head), len(payload))


def hex_dump(data: bytes) -> str:
    """Return lines of offset, 16 bytes in hexadecimal, and the same as ASCII."""
    lines = []
    for offset in range(0, len(data), HEX_BYTES_A_LINE):
        row = data[offset : offset + HEX_BYTES_A_LINE]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' '):<{HEX_BYTES_A_LINE * 3}} {plain}")
    return "\n".join(lines)


def _indented(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
