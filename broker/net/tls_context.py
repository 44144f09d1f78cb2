"""The certificate, the key and the demands on client certificates, as OpenSSL wants them."""

from __future__ import annotations

import ssl
import tempfile
from typing import TYPE_CHECKING

from settings import SettingsError

if TYPE_CHECKING:
    from settings import Settings

VERIFY_MODES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return what TLS connections are accepted with, None where no certificate is set.

    Raises SettingsError where TLS_KEY is not the key of TLS_CERT or OpenSSL refuses them.
    """
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # the peer could ask for the costly part again and again
    _load_certificate(context, settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca:
        context.load_verify_locations(cadata=settings.tls_client_ca)
    context.verify_mode = VERIFY_MODES[settings.tls_client_cert]
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL's Python interface takes the chain and the key from a file only; this one is readable by nobody else.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password=_refuse_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            problem = f"TLS_KEY: its value cannot be used: OpenSSL refuses it together with TLS_CERT ({reason})."
            raise SettingsError([problem]) from None


def _refuse_password() -> str:
    """Stand where OpenSSL would ask a terminal. Raises ValueError."""
    raise ValueError("the key needs a password")
