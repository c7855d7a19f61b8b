"""Variables for scripts that speak to the emulator and to nobody else."""

from __future__ import annotations

from airflow_provider_amlbatch.emulator.tls import Certificates
from airflow_provider_amlbatch.testing import ServedEmulator


def trusting_only(emulator: ServedEmulator) -> dict[str, str]:
    """The SDK's variables, with the emulator's own authority in place of all the world's.

    The SDK makes a new connection for nearly every request, and each reads all authorities anew: 20 ms of a processor.
    """
    authority = str(Certificates(emulator.root / "tls").authority)
    return emulator.environment | {"REQUESTS_CA_BUNDLE": authority, "SSL_CERT_FILE": authority}
