"""TLS contexts of servers for `cdn.example`, made when asked for, and of a client that trusts them."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def trusted() -> ssl.SSLContext:
    """A client's context, as the standard library makes it, that trusts this module's authority besides."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=_pem(_authority()[0]))
    return context


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@cache
def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(_named("authority"), _named("authority"), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 100 * _DAY)
        .not_valid_after(now + 100 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _served(host: str, days: tuple[int, int], is_signed: bool) -> ssl.SSLContext:
    """The context of a server whose certificate names this host and is valid between these days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority, authority_key = _authority()
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_named(host))
        .issuer_name(authority.subject if is_signed else _named(host))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key if is_signed else key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        chain = Path(folder) / "chain.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(secret + _pem(certificate).encode())
        context.load_cert_chain(chain)
    return context


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


CERTIFICATES: dict[str, Callable[[], ssl.SSLContext]] = {
    "good": partial(_served, "cdn.example", (-1, 1), True),
    "self-signed": partial(_served, "cdn.example", (-1, 1), False),
    "other-host": partial(_served, "other.example", (-1, 1), True),
    "expired": partial(_served, "cdn.example", (-9, -1), True),
    "future": partial(_served, "cdn.example", (1, 9), True),
}
