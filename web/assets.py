"""Static files, served by WhiteNoise under a name that changes with their content: browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from whitenoise import WhiteNoise

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from flask import Flask

FOLDER = Path(__file__).parent / "static"


def register(app: Flask) -> None:
    """Serve the folder before `app` is asked, and offer `static_url(name)` to its templates."""
    prefix = f"static/{_digest(FOLDER)}"
    files = WhiteNoise(app.wsgi_app, immutable_file_test=_is_immutable, add_headers_function=_add_headers)
    files.add_files(str(FOLDER), prefix=f"{prefix}/")
    app.wsgi_app = files  # type: ignore[method-assign]

    @app.template_global()
    def static_url(name: str) -> str:
        return f"/{prefix}/{name}"


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:12]


def _is_immutable(_path: str, _url: str) -> bool:
    return True


def _add_headers(headers: MutableMapping[str, str], _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"
