"""Secrets that are guessed at once: short, one piece again and again, a row of keys, or a word that everybody tries."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD_CHARACTERS = 8  # NIST SP 800-63B §3.1.1.2: the least; log-ins are limited to ten failures a minute
KEY_CHARACTERS = 16  # nothing limits guesses at a key
DISTINCT_CHARACTERS = 5
INSTEAD = "make one with `openssl rand -hex 16`"
ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
)
LOOK_ALIKES = str.maketrans("013457$@", "oleastsa")
WORDS = frozenset({
    "access", "admin", "administrator", "apikey", "apitoken", "broker", "change", "changeit", "changeme", "changethis",
    "dashboard", "default", "demo", "device", "devices", "example", "guest", "hello", "iloveyou", "key", "letmein",
    "login", "master", "monkey", "mosquitto", "mqtt", "mqttpassword", "operator", "pass", "passw", "passwd", "password",
    "passwort", "placeholder", "private", "public", "qwerty", "qwertz", "root", "sample", "scalingo", "secret",
    "secretkey", "secretpassword", "supersecret", "test", "testing", "token", "trustno", "unknown", "user", "username",
    "welcome", "yourpassword", "yoursecret", "yoursecretkey",
})  # fmt: skip


def secret(minimum_characters: int) -> Callable[[str], str]:
    """Return a parser of secrets that are not guessed at once."""

    def parse(value: str) -> str:
        if len(value) < minimum_characters:
            raise ValueError(f"it is shorter than {minimum_characters} characters; {INSTEAD}")
        if _is_repetition(value) or _is_row(value.lower()) or _is_word(value.lower()):
            raise ValueError(f"it is among the first that everybody guesses; {INSTEAD}")
        return value

    return parse


def _is_repetition(text: str) -> bool:
    """Return whether it is a piece again and again, or has hardly any different characters."""
    return len(set(text)) < DISTINCT_CHARACTERS or text in (text + text)[1:-1]


def _is_row(text: str) -> bool:
    return any(text in row or text in row[::-1] for row in ROWS)


def _is_word(text: str) -> bool:
    """Return whether its letters are a word, as in `Password-2026!`; also with other characters for some: `p4ssw0rd`."""
    spelled = text.strip(string.digits + string.punctuation).translate(LOOK_ALIKES)
    return any("".join(filter(str.isalpha, each)) in WORDS for each in (text, spelled))
