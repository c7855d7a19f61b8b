"""Certificates, judged by a verifier that is not ours."""

from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from airflow_provider_amlbatch.emulator.tls import Certificates


def verify(certificates: Certificates, subject: x509.DNSName | x509.IPAddress, *, days: int = 0) -> None:
    authority = x509.load_pem_x509_certificate(certificates.authority.read_bytes())
    leaf = x509.load_pem_x509_certificate(certificates.certificate.read_bytes())
    builder = PolicyBuilder().store(Store([authority])).time(datetime.now(UTC) + timedelta(days=days))
    builder.build_server_verifier(subject).verify(leaf, [])


def test_the_certificate_serves_its_names_and_no_other(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.prepare("emulator.example")
    for name in ("localhost", "account.blob.core.local", "emulator.example"):
        verify(certificates, x509.DNSName(name))
    for address in ("127.0.0.1", "::1"):
        verify(certificates, x509.IPAddress(ipaddress.ip_address(address)))
    with pytest.raises(VerificationError):
        verify(certificates, x509.DNSName("login.microsoftonline.com"))
    with pytest.raises(VerificationError):
        verify(certificates, x509.DNSName("localhost"), days=400)


def test_an_authority_stays_and_another_folder_has_another(tmp_path: Path) -> None:
    ours, theirs = Certificates(tmp_path / "a"), Certificates(tmp_path / "b")
    ours.prepare()
    theirs.prepare()
    authority, leaf = ours.authority.read_bytes(), ours.certificate.read_bytes()
    ours.prepare()
    assert (ours.authority.read_bytes(), ours.certificate.read_bytes()) == (authority, leaf)
    ours.prepare("new.example")
    assert ours.authority.read_bytes() == authority
    assert ours.certificate.read_bytes() != leaf
    assert theirs.authority.read_bytes() != authority


def test_keys_are_private_and_the_bundle_is_complete(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.prepare()
    for key in (certificates.authority_key, certificates.key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    bundle = x509.load_pem_x509_certificates(certificates.bundle.read_bytes())
    assert len(bundle) > 100
    assert x509.load_pem_x509_certificate(certificates.authority.read_bytes()) in bundle
