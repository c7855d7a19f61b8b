"""Each way to log in, through azure-identity, and what becomes of a login that fails."""

from __future__ import annotations

import datetime
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from directory import IDENTITY_HEADER, Directory, served

from airflow_provider_amlbatch.aml.errors import AuthenticationError, ConnectionSettingsError, NotSentError
from airflow_provider_amlbatch.aml.session import Session
from airflow_provider_amlbatch.aml.settings import AuthMode, ConnectionSettings
from airflow_provider_amlbatch.testing import ServedEmulator


@pytest.fixture
def directory(emulator: ServedEmulator) -> Iterator[Directory]:
    with served(Directory(emulator)) as directory:
        yield directory


@pytest.fixture
def settings(directory: Directory) -> ConnectionSettings:
    emulated = ConnectionSettings.from_json("azureml_default", directory.emulator.connection_json)
    return replace(emulated, metadata_url=f"{directory.url}/metadata/endpoints?api-version=2019-05-01")


def session(settings: ConnectionSettings) -> Session:
    return Session(settings, attempts=1)


def logs_in(settings: ConnectionSettings) -> None:
    """Check that the token is good for the workspace."""
    assert session(settings).workspace.name == settings.workspace_name


def self_signed(passphrase: str | None) -> tuple[x509.Certificate, bytes]:
    """Make a certificate, and the file of it and of its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "airflow")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    locked = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    return certificate, pem + certificate.public_bytes(serialization.Encoding.PEM)


def test_client_secret(directory: Directory, settings: ConnectionSettings) -> None:
    logs_in(settings)
    assert directory.logins == ["secret"]


@pytest.mark.parametrize("passphrase", [None, "opens the key"])
def test_certificate(
    directory: Directory, settings: ConnectionSettings, tmp_path: Path, passphrase: str | None
) -> None:
    directory.certificate, pem = self_signed(passphrase)
    (tmp_path / "identity.pem").write_bytes(pem)
    own = replace(
        settings,
        auth_mode=AuthMode.CERTIFICATE,
        certificate_path=str(tmp_path / "identity.pem"),
        client_secret=passphrase,
    )
    logs_in(own)
    assert directory.logins == ["certificate"]
    directory.certificate, _ = self_signed(None)
    with pytest.raises(AuthenticationError, match="AADSTS7000215"):
        session(own).workspace  # noqa: B018


def test_a_file_without_a_certificate_is_the_connections_fault(settings: ConnectionSettings, tmp_path: Path) -> None:
    (tmp_path / "identity.pem").write_text("not a certificate")
    own = replace(settings, auth_mode=AuthMode.CERTIFICATE, certificate_path=str(tmp_path / "identity.pem"))
    with pytest.raises(ConnectionSettingsError, match="'azureml_default' cannot log in by 'certificate'"):
        session(own).workspace  # noqa: B018


def test_workload_identity(
    directory: Directory, settings: ConnectionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(settings, auth_mode=AuthMode.WORKLOAD_IDENTITY, client_secret=None)
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    with pytest.raises(ConnectionSettingsError, match="token_file_path"):
        session(own).workspace  # noqa: B018
    (tmp_path / "token").write_text("of the pod's service account")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(AuthenticationError, match="AADSTS7000215"):
        session(own).workspace  # noqa: B018
    directory.federated = "of the pod's service account"
    logs_in(own)
    assert directory.logins == ["federated"]


class TestManagedIdentity:
    @pytest.fixture
    def machine(self, emulator: ServedEmulator) -> Iterator[Directory]:
        with served(Directory(emulator), tls=False) as directory:
            yield directory

    @pytest.fixture
    def own(self, settings: ConnectionSettings) -> ConnectionSettings:
        return replace(settings, auth_mode=AuthMode.MANAGED_IDENTITY, client_id=None, client_secret=None)

    def test_of_an_app_service(
        self, machine: Directory, own: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        logs_in(own)
        assert machine.logins == ["app service"]

    def test_of_a_machine(self, machine: Directory, own: ConnectionSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
        logs_in(replace(own, managed_identity_client_id="11111111-1111-1111-1111-111111111111"))
        assert machine.logins == ["machine"]


def test_azure_cli(settings: ConnectionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name answers as ``az account get-access-token`` does."""
    emulator_token = session(settings).token()
    answer = {"accessToken": emulator_token, "expiresOn": "2035-01-01 00:00:00.000000", "tokenType": "Bearer"}
    az = tmp_path / "az"
    own = replace(settings, auth_mode=AuthMode.AZURE_CLI, client_id=None, client_secret=None)

    def says(text: str, status: int) -> None:
        stream = 2 if status else 1
        az.write_text(
            f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\ncat >&{stream} <<'END'\n{text}\nEND\nexit {status}\n"
        )
        az.chmod(az.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    says(json.dumps(answer), 0)
    logs_in(own)
    assert "account get-access-token" in (tmp_path / "asked").read_text()
    says("ERROR: Please run 'az login' to setup account.", 1)
    with pytest.raises(AuthenticationError, match="az login"):
        session(own).workspace  # noqa: B018


class TestAFailureIs:
    def test_lasting_when_the_secret_is_wrong(self, settings: ConnectionSettings) -> None:
        with pytest.raises(AuthenticationError, match="AADSTS7000215") as caught:
            session(replace(settings, client_secret="not this one")).workspace  # noqa: B018
        assert "not this one" not in str(caught.value)

    def test_lasting_when_the_login_service_is_not_trusted(
        self, settings: ConnectionSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = session(settings)
        known.cloud  # noqa: B018 - read while its certificate is trusted
        known.settings = replace(settings, ca_bundle=None)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        with pytest.raises(AuthenticationError, match="CERTIFICATE_VERIFY_FAILED"):
            known.token()

    @pytest.mark.parametrize("breaks", [503, 500, "reset"])
    def test_passing_when_the_login_service_fails(
        self, directory: Directory, settings: ConnectionSettings, breaks: str | int
    ) -> None:
        directory.breaks = breaks
        with pytest.raises(NotSentError, match="could be had now"):
            session(settings).workspace  # noqa: B018
        directory.breaks = None
        logs_in(settings)

    def test_passing_when_the_login_service_is_gone(self, settings: ConnectionSettings) -> None:
        gone = session(settings)
        gone.__dict__["cloud"] = replace(gone.cloud, authority="https://localhost:1")
        with pytest.raises(NotSentError, match="could be had now"):
            gone.token()

    def test_passing_for_a_workload_identity_too(
        self, directory: Directory, settings: ConnectionSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory.breaks = 503
        (tmp_path / "token").write_text("of the pod")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
        with pytest.raises(NotSentError, match="could be had now"):
            session(replace(settings, auth_mode=AuthMode.WORKLOAD_IDENTITY)).token()
