"""Log in and log out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from web import current
from web.auth import credentials
from web.auth.guard import is_logged_in

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("auth", __name__)
MAX_FIELD_CHARACTERS = 1024


class LoginForm(FlaskForm):  # type: ignore[misc]  Flask-WTF has no types
    """User name and password; the token against forged requests comes with the class."""

    username = StringField("User name", [InputRequired(), Length(max=MAX_FIELD_CHARACTERS)])
    password = PasswordField("Password", [InputRequired(), Length(max=MAX_FIELD_CHARACTERS)])


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the form; with the right credentials begin a session and go on to `next`, a path of this site."""
    target = credentials.local_path(request.args.get("next", "/"))
    if request.method == "GET" and is_logged_in():
        return redirect(target)
    form = LoginForm()
    if not form.is_submitted():
        return render_template("auth/login.html", form=form)
    name, password = form.username.data or "", form.password.data or ""
    if not form.validate() or not credentials.are_valid(current.settings(), name, password):
        return render_template("auth/login.html", form=form, is_refused=True), 401
    session.clear()
    session.permanent = True
    session["username"] = form.username.data
    return redirect(target)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session in this browser."""
    session.clear()
    return redirect(url_for("auth.login"))
