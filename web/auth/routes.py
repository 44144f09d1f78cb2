"""Log in and log out. The token against forged requests is checked for every form by Flask-WTF, before these views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from flask import Blueprint, redirect, render_template, request, url_for

from web import errors
from web.auth import credentials, ended_sessions
from web.auth.guard import is_logged_in

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("auth", __name__)
NOT_LOGGED_OUT = "You are still logged in: the store does not answer. Go back and try again."


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the form; with the right credentials begin a session and go on to `next`, a path of this site."""
    target = credentials.local_path(request.args.get("next", "/"))
    if request.method == "GET":
        return redirect(target) if is_logged_in() else render_template("auth/login.html")
    username, password = request.form.get("username", ""), request.form.get("password", "")
    if not credentials.are_right(username, password):
        return render_template("auth/login.html", username=username, is_refused=True), 401
    ended_sessions.begin()
    return redirect(target)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session, in this browser and wherever else its cookie is."""
    try:
        ended_sessions.end()
    except redis.RedisError:
        return errors.answer(503, "store_unavailable", NOT_LOGGED_OUT)
    return redirect(url_for("auth.login"))
