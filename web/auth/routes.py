"""Log in and log out. The token against forged requests is checked for every form by Flask-WTF, before these views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, redirect, render_template, request, session, url_for

from web import current
from web.auth import credentials
from web.auth.guard import is_logged_in

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("auth", __name__)


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the form; with the right credentials begin a session and go on to `next`, a path of this site."""
    target = credentials.local_path(request.args.get("next", "/"))
    if request.method == "GET":
        return redirect(target) if is_logged_in() else render_template("auth/login.html")
    username, password = request.form.get("username", ""), request.form.get("password", "")
    if not credentials.are_valid(current.settings(), username, password):
        return render_template("auth/login.html", username=username, is_refused=True), 401
    session.clear()
    session.permanent = True
    session["username"] = username
    return redirect(target)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session in this browser."""
    session.clear()
    return redirect(url_for("auth.login"))
