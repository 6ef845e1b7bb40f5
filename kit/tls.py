"""TLS 1.3 for HTTP and gRPC, from files.

Both sides refuse anything older than TLS 1.3. gRPC's core offers no setting for that; see `_require_tls13`.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import grpc
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
    _load_chain(context, settings.certificate, settings.key)
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, settings.client_ca)
    return context


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
        _load_chain(context, certificate, key)
    return context


def grpc_server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Credentials of a gRPC listener, or None without a certificate. Raises SettingsError."""
    if settings.certificate is None or settings.key is None:
        return None
    # gRPC reports unusable files as a failed bind; the TLS library names what is wrong with them.
    server_context(settings)
    _require_tls13()
    authorities = (
        _read(settings.client_ca, "the client authorities") if settings.client_ca is not None else None
    )
    pair = (read_secret(settings.key, "the TLS private key"), _read(settings.certificate, "the certificate"))
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


def grpc_channel_credentials(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a gRPC client; arguments and errors as in `client_context`."""
    client_context(ca, certificate, key)
    _require_tls13()
    return grpc.ssl_channel_credentials(
        _read(ca, "the authorities") if ca is not None else None,
        read_secret(key, "the TLS private key") if key is not None else None,
        _read(certificate, "the certificate") if certificate is not None else None,
    )


def _require_tls13() -> None:
    """Leaves TLS 1.2 no usable cipher in gRPC, so that a handshake ends in TLS 1.3 or fails.

    The variable lists the ciphers of TLS 1.2 and older alone. The one that is left needs a pre-shared key, which
    nobody has. gRPC reads it when it makes its first TLS credentials.
    """
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError([Problem(str(path), "", f"cannot read {what}: {error.strerror}")]) from None


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _read(certificate, "the certificate")
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
    _read(path, "the authorities")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise SettingsError([Problem(str(path), "", "holds no PEM certificate")]) from None
