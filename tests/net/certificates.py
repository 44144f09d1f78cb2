"""An authority of the test's own and certificates that it signs, made by the `openssl` command."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


@dataclass
class Certificate:
    """PEM files: a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; all files are in `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.own = self._make(name, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")

    def sign(self, name: str) -> Certificate:
        """Make a certificate for 127.0.0.1, of a server or a client."""
        signer = ["-CA", str(self.own.certificate), "-CAkey", str(self.own.key)]
        return self._make(name, "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1", *signer)

    def _make(self, name: str, constraints: str, extension: str, *signer: str) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        extensions = ["-addext", constraints, "-addext", extension]
        command = ["openssl", "req", "-x509", *NEW_KEY, *files, "-subj", f"/CN={name}", *extensions, *signer]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        return made

    def client_context(self, client: Certificate | None = None) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority; with `client`, it shows that certificate."""
        context = ssl.create_default_context(cafile=str(self.own.certificate))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context
