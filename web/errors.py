"""Errors as their readers need them: JSON under /api, a fragment for a part of a page, else a whole page.

The store being away is an expected state: 503 and one plain sentence, never a traceback.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import redis
from flask import jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from store.answers import LongHistoryUnavailable

if TYPE_CHECKING:
    from flask import Flask, Response

LOGGER = logging.getLogger(__name__)
STORE_UNAVAILABLE = "The store does not answer. Devices keep their messages and send them again; this page retries."
LONG_HISTORY_UNAVAILABLE = "The long history (MongoDB) does not answer, and holds what was asked for. Try again later."
RETRY_AFTER_S = "2"

CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    429: "too_many_failed_logins",
    500: "internal_error",
    503: "unavailable",
}
SENTENCES = {
    400: "The request could not be understood.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request is too large.",
    500: "Something went wrong here; the log of the web process says what.",
}


class ApiError(HTTPException):
    """An answer of the API that is an error, with a `code` for programs and a message that says what to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.code = status
        self.api_code = code


def register(app: Flask) -> None:
    """Answer every error of `app` in its reader's form."""
    app.register_error_handler(redis.RedisError, _store_unavailable)
    app.register_error_handler(LongHistoryUnavailable, _long_history_unavailable)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def answer(status: int, code: str, message: str) -> Response:
    """Make the response of an error in the form that this request's reader needs."""
    if request.path.startswith("/api/"):
        response = make_response(jsonify({"error": {"code": code, "message": message}}), status)
    else:
        template = "error_part.html" if "HX-Request" in request.headers else "error.html"
        response = make_response(render_template(template, status=status, message=message), status)
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_S
    return response


def _store_unavailable(error: redis.RedisError) -> Response:
    LOGGER.warning("%s: the store does not answer: %s", request.path, type(error).__name__)
    return answer(503, "store_unavailable", STORE_UNAVAILABLE)


def _long_history_unavailable(_error: LongHistoryUnavailable) -> Response:
    return answer(503, "long_history_unavailable", LONG_HISTORY_UNAVAILABLE)


def _csrf(error: CSRFError) -> Response:
    LOGGER.info("form refused: %s", error.description)
    return answer(400, "bad_request", "This form has expired. Go back, reload the page and send it again.")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or 300 <= status < 400:
        return cast("Response", error.get_response())
    if isinstance(error, ApiError):
        return answer(status, error.api_code, str(error.description))
    is_explained = error.description != type(error).description  # by whoever raised it
    sentence = None if is_explained else SENTENCES.get(status)
    response = answer(status, CODES.get(status, "error"), sentence or str(error.description))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    LOGGER.error("%s %s failed", request.method, request.path, exc_info=error)
    return answer(500, CODES[500], SENTENCES[500])
