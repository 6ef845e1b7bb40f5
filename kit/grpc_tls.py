"""Credentials of gRPC listeners and channels, from the same files and with the same errors as `kit.tls`."""

from __future__ import annotations

from pathlib import Path

import grpc

from kit.settings import read_secret
from kit.tls import TlsSettings, client_context, read_pem, server_context


def grpc_server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """Credentials of a gRPC listener, or None without a certificate. Raises SettingsError."""
    if settings.certificate is None or settings.key is None:
        return None
    # gRPC reports unusable files as a failed bind; the TLS library names what is wrong with them.
    server_context(settings)
    authorities = (
        read_pem(settings.client_ca, "the client authorities") if settings.client_ca is not None else None
    )
    pair = (
        read_secret(settings.key, "the TLS private key"),
        read_pem(settings.certificate, "the certificate"),
    )
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


def grpc_channel_credentials(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a gRPC client; arguments and errors as in `client_context`."""
    client_context(ca, certificate, key)
    return grpc.ssl_channel_credentials(
        read_pem(ca, "the authorities") if ca is not None else None,
        read_secret(key, "the TLS private key") if key is not None else None,
        read_pem(certificate, "the certificate") if certificate is not None else None,
    )
