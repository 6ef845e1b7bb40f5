"""Whom a client certificate names. That it is genuine is the TLS layer's word."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID


class BadCertificate(ValueError):
    """Bytes that are no certificate, or one whose names cannot be read."""


@lru_cache(maxsize=1024)
def certificate_names(certificate: bytes) -> tuple[str, ...]:
    """The DNS, URI and mail alternative names of a certificate in PEM or DER.

    Only a certificate without any of those is known by its common name. Raises BadCertificate.
    """
    try:
        pem = certificate.startswith(b"-----BEGIN")
        parsed = (x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate)(certificate)
        try:
            extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            extension = None
        names: list[str] = []
        if extension is not None:
            for kind in (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name):
                names += extension.get_values_for_type(kind)
        if not names:
            names = [str(item.value) for item in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (
        ValueError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise BadCertificate("the client certificate cannot be read") from None
    return tuple(names)
