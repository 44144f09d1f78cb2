"""Whether the bytes that a client has sent are a whole request (RFC 9112 §2, §6). Pure.

Only framing is read here, so that a request is handed on with all its bytes; gunicorn's parser judges them afterwards.
"""

from __future__ import annotations

import re

MAX_REQUEST_BYTES = 16 * 1024  # head and body; the largest form is the log-in

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class RefusedRequestError(Exception):
    """A request that is not read to its end; the message is the status to answer, as in `413 Content Too Large`."""


def is_whole(received: bytearray) -> bool:
    """Return whether a request is there from its first byte to its last; more may follow it.

    Raises RefusedRequestError.
    """
    while received.startswith((b"\r", b"\n")):  # lines before a request are no part of it
        del received[0]
    head_bytes = received.find(_HEAD_END) + len(_HEAD_END)
    if head_bytes < len(_HEAD_END):
        if len(received) > MAX_REQUEST_BYTES:
            raise RefusedRequestError("431 Request Header Fields Too Large")
        return False
    head = received[:head_bytes]
    if _TRANSFER_ENCODING.search(head):
        raise RefusedRequestError("411 Length Required")
    length = _LENGTH.search(head)
    whole_bytes = head_bytes + (int(length[1]) if length else 0)
    if whole_bytes > MAX_REQUEST_BYTES:
        raise RefusedRequestError("413 Content Too Large")
    return len(received) >= whole_bytes
