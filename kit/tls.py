"""TLS 1.3 from files. Credentials for gRPC: `kit.grpc_tls`.

HTTP contexts refuse anything older than TLS 1.3. For gRPC a daemon calls `refuse_old_tls_in_grpc` before it imports
gRPC (`run_daemon` does); a library in somebody else's process does not, and takes TLS 1.2 too.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import Field, model_validator

from kit.settings import PathBesideFile, Problem, Section, SettingsError, read_secret


class TlsSettings(Section):
    """Server certificate, and who may connect."""

    certificate: PathBesideFile | None = Field(
        default=None, description="PEM file: the certificate and its chain"
    )
    key: PathBesideFile | None = Field(
        default=None, description="PEM file: its private key, mode 0600, unencrypted"
    )
    client_ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities whose client certificates are required"
    )

    @model_validator(mode="after")
    def _complete(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key: client certificates exist in TLS only")
        return self

    @property
    def enabled(self) -> bool:
        """Whether a certificate is set."""
        return self.certificate is not None


def server_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """The context of an HTTP listener, or None without a certificate.

    Raises:
        SettingsError: a file is missing, is no PEM, or key and certificate do not match.
    """
    if settings.certificate is None or settings.key is None:
        return None
    read_secret(settings.key, "the TLS private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    load_chain(context, settings.certificate, settings.key)
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, settings.client_ca)
    return context


class ServerTls:
    """The context of an HTTP listener whose files may be replaced while it listens."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises SettingsError, as `server_context`."""
        self._current = server_context(settings)
        self.context = server_context(settings)
        """What the listener is given; None without a certificate."""
        self._verifies = settings.client_ca is not None
        if self.context is not None:
            # Called in every handshake, before any certificate is sent.
            self.context.sni_callback = self._follow

    def _follow(self, secure: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._current is not None:
            secure.context = self._current

    def prepare(self, settings: TlsSettings) -> Callable[[], None]:
        """Reads the files again; what is returned puts them in force for handshakes to come. Raises SettingsError."""
        context = server_context(settings)
        check_same_kind(settings, enabled=self._current is not None, verifies=self._verifies)

        def apply() -> None:
            self._current = context

        return apply


def check_same_kind(settings: TlsSettings, *, enabled: bool, verifies: bool) -> None:
    """Raises SettingsError where a listener cannot change without being opened anew."""
    if settings.enabled != enabled or (settings.client_ca is not None) != verifies:
        what = "TLS, or asking for client certificates, begins and ends with a restart only"
        raise SettingsError([Problem("settings", "tls", what)])


def client_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """The context of an HTTP client.

    Args:
        ca: authorities to trust instead of the system's.
        certificate: our own certificate, for servers that ask for one.
        key: its private key.

    Raises:
        SettingsError: as for `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is not None:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    if certificate is not None and key is not None:
        read_secret(key, "the TLS private key")
        load_chain(context, certificate, key)
    return context


def refuse_old_tls_in_grpc() -> bool:
    """Leaves TLS 1.2 no usable cipher in this process's gRPC, so that a handshake ends in TLS 1.3 or fails.

    gRPC has no setting for it and reads this variable when it is imported; False if that was already. The variable
    lists the ciphers of TLS 1.2 and older alone, and the one that is left needs a pre-shared key, which nobody has.
    """
    if "grpc" in sys.modules:
        return False
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"
    return True


def read_pem(path: Path, what: str) -> bytes:
    """The content of a file that is no secret. Raises SettingsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError([Problem(str(path), "", f"cannot read {what}: {error.strerror}")]) from None


def load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Puts a certificate and its key into a context, in the place of what it had. Raises SettingsError."""
    read_pem(certificate, "the certificate")
    try:
        # The password callback stops OpenSSL from asking the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            what = f"the certificate does not belong to the private key {key}"
        else:
            what = f"not a PEM certificate with an unencrypted private key in {key}"
        raise SettingsError([Problem(str(certificate), "", what)]) from None


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    read_pem(path, "the authorities")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise SettingsError([Problem(str(path), "", "holds no PEM certificate")]) from None
