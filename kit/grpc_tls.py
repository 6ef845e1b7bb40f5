"""Credentials of gRPC listeners and channels, from the same files and with the same errors as `kit.tls`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc

from kit.settings import read_secret
from kit.tls import TlsSettings, check_same_kind, client_context, read_pem, server_context


class GrpcServerTls:
    """Credentials of a gRPC listener whose files may be replaced while it listens."""

    def __init__(self, settings: TlsSettings) -> None:
        """Raises SettingsError."""
        self._verifies = settings.client_ca is not None
        self._fresh: grpc.ServerCertificateConfiguration | None = None
        self.credentials: grpc.ServerCredentials | None = None
        """None without a certificate."""
        first = _configuration(settings)
        if first is not None:
            self.credentials = grpc.dynamic_ssl_server_credentials(
                first,
                cast("Callable[[], grpc.ServerCertificateConfiguration]", self._take),
                require_client_authentication=self._verifies,
            )

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked in every handshake: another configuration, or None for no change. gRPC frees what it is given, so each once."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def prepare(self, settings: TlsSettings) -> Callable[[], None]:
        """Reads the files again; what is returned puts them in force for handshakes to come. Raises SettingsError."""
        fresh = _configuration(settings)
        check_same_kind(settings, enabled=self.credentials is not None, verifies=self._verifies)

        def apply() -> None:
            self._fresh = fresh

        return apply


def _configuration(settings: TlsSettings) -> grpc.ServerCertificateConfiguration | None:
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
    return grpc.ssl_server_certificate_configuration([pair], authorities)


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
