"""Where a request ends, however it arrives, and which requests are not waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

import web
from web.serving.whole_request import MAX_REQUEST_BYTES, RefusedRequestError, is_whole
from web.serving.worker import LARGEST_FREE_ANSWER_BYTES, SEND_BUFFER_BYTES

HEAD = b"POST /login HTTP/1.1\r\nHost: a\r\n"
WHOLE = [
    HEAD + b"\r\n",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"content-length:3\r\nX: y\r\n\r\na=b",
    HEAD + b"X: y\r\nCONTENT-LENGTH: \t3 \r\n\r\na=b",
    b"\r\n\n\r\n" + HEAD + b"\r\n",
]


@pytest.mark.parametrize("request_bytes", WHOLE)
def test_request_is_whole_with_its_last_byte_and_with_what_follows(request_bytes: bytes):
    received = bytearray()
    for byte in request_bytes:
        assert not is_whole(received)
        received.append(byte)
    assert is_whole(received)
    assert is_whole(received + b"GET /hal")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * MAX_REQUEST_BYTES, 431),
        (HEAD + b"X: " + b"a" * MAX_REQUEST_BYTES + b"\r\n\r\n", 413),
        (HEAD + b"Content-Length: %d\r\n\r\n" % MAX_REQUEST_BYTES, 413),
        (HEAD + b"Content-Length: 999999999999999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 411),
        (HEAD + b"transfer-encoding :chunked\r\n\r\n", 411),
    ],
)
def test_request_that_cannot_be_waited_for_is_refused(request_bytes: bytes, status: int):
    with pytest.raises(RefusedRequestError, match=str(status)):
        is_whole(bytearray(request_bytes))


def test_text_that_looks_like_framing_is_none():
    assert is_whole(bytearray(b"GET /?content-length: 9 HTTP/1.1\r\nX-Content-Length: 9\r\n\r\n"))
    assert is_whole(bytearray(HEAD + b"Content-Length: 2\r\n\r\n\r\ncontent-length: 99\r\n"))


def test_every_static_file_fits_a_writable_socket():
    files = (path for path in (Path(web.__file__).parent / "static").rglob("*") if path.is_file())
    assert max(path.stat().st_size for path in files) < LARGEST_FREE_ANSWER_BYTES
    assert LARGEST_FREE_ANSWER_BYTES < SEND_BUFFER_BYTES * 2 / 3
