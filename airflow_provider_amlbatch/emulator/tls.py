"""Certificates: an authority of the emulator's own, and the server's certificate under it.

Azure's clients talk to storage and log in over TLS only, so the emulator needs a certificate that they can be told to
trust: ``bundle.pem`` holds certifi's authorities and ours, for ``REQUESTS_CA_BUNDLE`` and ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Every name under which a client may address the emulator. Storage hosts are ``<account>.blob.<suffix>``.
NAMES = ("localhost", "127.0.0.1", "::1", "*.blob.core.local", "*.blob.core.azlocal.test")

_CA_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=397)
_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Names the certificate files of a state folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's private key."""
        return self.folder / "ca.key"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The server's private key."""
        return self.folder / "server.key"

    @property
    def bundle(self) -> Path:
        """What a client must trust: certifi's authorities and ours."""
        return self.folder / "bundle.pem"

    def prepare(self, host: str = "localhost") -> None:
        """Make what is missing, and renew the server's certificate when it ends soon or does not name the host.

        The authority stays the same for the life of the folder, so clients keep trusting it.

        :param host: a further name or address under which clients reach the server.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.authority.exists() and self.authority_key.exists()):
            self._make_authority()
        if not self._serves(host):
            self._make_leaf(sorted({*NAMES, host}))
        bundle = Path(certifi.where()).read_bytes() + b"\n" + self.authority.read_bytes()
        _write(self.bundle, bundle, mode=0o644)

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Azure ML emulator authority")])
        builder = _builder(name, name, key.public_key(), _CA_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        certificate = builder.sign(key, hashes.SHA256())
        _write(self.authority_key, _private(key), mode=0o600)
        _write(self.authority, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def _make_leaf(self, names: list[str]) -> None:
        authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
        signer = serialization.load_pem_private_key(self.authority_key.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Azure ML emulator")])
        builder = _builder(subject, authority.subject, key.public_key(), _LEAF_LIFE)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        certificate = builder.sign(signer, hashes.SHA256())
        _write(self.key, _private(key), mode=0o600)
        _write(self.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)

    def _serves(self, host: str) -> bool:
        if not (self.certificate.exists() and self.key.exists()):
            return False
        leaf = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        known = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        lasts = leaf.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE
        return lasts and all(_alternative(name) in known for name in (*NAMES, host))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a client's clock may be behind
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, *, mode: int) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as output:
        output.write(content)
    beside.replace(file)
