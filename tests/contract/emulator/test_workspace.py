"""The workspace, sign-in and the server itself: judged by the SDK and by azure-identity."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.identity import ClientSecretCredential

from airflow_provider_amlbatch.aml.status import RunStatus
from airflow_provider_amlbatch.emulator import server
from airflow_provider_amlbatch.emulator.engine.folder import end_runs
from airflow_provider_amlbatch.emulator.engine.job import PipelineJob, StepJob
from airflow_provider_amlbatch.emulator.environment import config
from airflow_provider_amlbatch.testing import ServedEmulator, serving

SCRIPT = """
import os
from azureml.core.authentication import (
    ArmTokenAuthentication, InteractiveLoginAuthentication, ServicePrincipalAuthentication, TokenAuthentication)

names = dict(subscription_id=ws.subscription_id, resource_group=ws.resource_group, workspace_name=ws.name)
secret = os.environ["AZUREML_SERVICE_PRINCIPAL_PASSWORD"]
client = os.environ["AZUREML_SERVICE_PRINCIPAL_ID"]
principal = ServicePrincipalAuthentication("adfs", client, secret)
arm = principal.get_token().token
kinds = {
    "principal": principal,
    "token": TokenAuthentication(lambda audience: arm),
    "arm": ArmTokenAuthentication(arm, cloud="AzureCloud"),
    "ambient": InteractiveLoginAuthentication(),
}
report(
    scope=ws.service_context._get_workspace_scope(),
    details=[ws.get_details()[key] for key in ("workspaceid", "provisioningState", "location")],
    listed=list(Workspace.list(ws.subscription_id)),
    keys=ws.list_keys(),
    in_group=list(Workspace.list(ws.subscription_id, resource_group=ws.resource_group)),
    by_kind={kind: Workspace(auth=auth, **names).name for kind, auth in kinds.items()},
)

def failure(action):
    try:
        action()
    except Exception as error:
        return str(error)

report(
    wrong_secret=failure(lambda: ServicePrincipalAuthentication("adfs", client, "wrong").get_token()),
    wrong_client=failure(lambda: ServicePrincipalAuthentication("adfs", "someone", secret).get_token()),
    no_workspace=failure(lambda: Workspace(auth=principal, **names | {"workspace_name": "absent"})),
    no_group=failure(lambda: Workspace(auth=principal, **names | {"resource_group": "absent"})),
    forged=failure(lambda: Workspace(auth=TokenAuthentication(lambda audience: arm[:-3] + "AAA"), **names)),
)
"""


@pytest.fixture(scope="module")
def said(sdk: Any) -> dict[str, Any]:
    return sdk(SCRIPT)


def test_the_sdk_finds_the_workspace(said: dict[str, Any], emulator: ServedEmulator) -> None:
    identity = emulator.services.identity
    assert said["scope"] == identity.scope
    assert said["keys"]["userStorageKey"] == identity.account_key
    assert said["details"] == [identity.workspace_id, "Succeeded", "local"]
    assert said["listed"] == said["in_group"] == ["emulator"]
    assert said["by_kind"] == dict.fromkeys(("principal", "token", "arm", "ambient"), "emulator")


def test_the_sdk_is_told_what_is_wrong(said: dict[str, Any], emulator: ServedEmulator) -> None:
    assert "AADSTS7000215" in said["wrong_secret"]
    assert "AADSTS700016" in said["wrong_client"]
    assert "Workspace not found" in said["no_workspace"]
    assert "has no authorization over the scope" in said["no_group"]
    assert "signature" in said["forged"]
    assert emulator.services.identity.client_secret not in json.dumps(said)


def test_azure_identity_signs_in_with_what_the_metadata_says(emulator: ServedEmulator) -> None:
    connection = json.loads(emulator.connection_json)
    extra = connection["extra"]
    cloud = requests.get(extra["metadata_url"], verify=extra["ca_bundle"], timeout=10).json()[0]
    credential = ClientSecretCredential(
        extra["tenantId"],
        connection["login"],
        connection["password"],
        authority=cloud["authentication"]["loginEndpoint"],
        disable_instance_discovery=True,
        connection_verify=extra["ca_bundle"],
    )
    for audience in (cloud["authentication"]["audiences"][0], "https://ml.azure.com"):
        token = credential.get_token(f"{audience}/.default").token
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{emulator.url}/modelmanagement/v1.0{emulator.scope}/models"
        assert requests.get(url, headers=headers, verify=extra["ca_bundle"], timeout=10).status_code == 200


def test_paths_are_taken_as_azure_takes_them(emulator: ServedEmulator) -> None:
    session = emulator.session()
    odd = emulator.scope.replace("resourceGroups", "resourcegroups").replace("Microsoft", "microsoft")
    reply = session.get(f"{emulator.url}/{odd}", params={"api-version": "2022-05-01"})
    assert reply.json()["properties"]["workspaceId"] == emulator.services.identity.workspace_id


def test_what_is_not_there_is_refused_by_name(emulator: ServedEmulator) -> None:
    reply = emulator.session().post(f"{emulator.url}/mlflow/v1.0/anything")
    assert reply.status_code == 400
    body = reply.json()
    assert body["error"]["code"] == body["Error"]["Code"] == "EmulatorUnsupported"
    assert "POST /mlflow/v1.0/anything" in body["error"]["message"]
    broken = emulator.session().put(f"{emulator.url}{emulator.scope}/computes/x", data="{")
    assert broken.status_code == 400


# The server.


def test_a_served_folder_is_found_stopped_and_keeps_its_address(tmp_path: Path) -> None:
    assert server.status(tmp_path) is None
    served = server.start(tmp_path)
    try:
        assert server.status(tmp_path) == served
        assert server.start(tmp_path) == served
        with pytest.raises(server.ServerError, match="is served at"):
            server.start(tmp_path, port=served.port + 1)
        identity = server.StateFolder(tmp_path).open()
        assert config(identity)["workspace_name"] == "emulator"
        bundle = served.environment(tmp_path)["REQUESTS_CA_BUNDLE"]
        health = requests.get(f"{served.url}/_emulator/health", verify=bundle, timeout=10).json()
        assert health["workspaceId"] == identity.workspace_id
    finally:
        assert server.stop(tmp_path)
    assert server.status(tmp_path) is None
    assert not server.stop(tmp_path)
    with serving(tmp_path) as again:
        assert again.url == served.url
        assert again.services.identity.workspace_id == identity.workspace_id


def test_a_killed_server_leaves_nothing_that_blocks_the_next(tmp_path: Path) -> None:
    served = server.start(tmp_path)
    os.kill(served.pid, signal.SIGKILL)
    os.waitpid(served.pid, 0)
    assert server.status(tmp_path) is None
    again = server.start(tmp_path)
    try:
        assert again.pid != served.pid
        assert again.url == served.url
    finally:
        server.stop(tmp_path)


def test_a_port_in_use_and_a_folder_in_use_are_clear_errors(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(server.ServerError, match=f"Port {port} of 127.0.0.1 is in use"):
            server.start(tmp_path / "a", port=port)
    with serving(tmp_path / "b"), pytest.raises(server.ServerError, match="served already"), serving(tmp_path / "b"):
        pass


def test_a_process_is_never_taken_for_the_server_whose_id_it_has(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        port = urlsplit(served.url).port
    file = tmp_path / "server.json"
    assert json.loads(file.read_text()) == {"port": port}
    stale = {"url": served.url, "host": "127.0.0.1", "port": port, "pid": os.getppid()}
    file.write_text(json.dumps(stale))  # as one that was killed leaves it, and its id is another's by now
    with open(tmp_path / "server.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # somebody else who asks
        assert server.status(tmp_path) is None
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(server.ServerError, match="in use"):
        server.serve(tmp_path, port=taken.getsockname()[1])
    assert json.loads(file.read_text()) == {"port": port}
    with open(tmp_path / "server.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one that is about to begin
        assert server.status(tmp_path) is None
        assert not server.stop(tmp_path)


def test_an_address_that_no_client_would_ask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(server.ServerError, match=r"127\.0\.0\.2.*listen on 0\.0\.0\.0"):
        server.start(tmp_path, host="127.0.0.2", timeout=20)
    assert server.status(tmp_path) is None


@pytest.mark.parametrize("keep_jobs", [False, True])
def test_running_jobs_end_with_the_context_unless_they_are_kept(tmp_path: Path, keep_jobs: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "sleep.py").write_text("import time; time.sleep(600)")
    step = StepJob("step", "node", "sleep", str(source), str(tmp_path / "artifacts"), sys.executable, script="sleep.py")
    with serving(tmp_path / "state", keep_jobs=keep_jobs) as served:
        folder = served.services.states.folder("sleeper")
        folder.create(PipelineJob("sleeper", (step,)))
        folder.launch()
    assert folder.has_controller() == keep_jobs
    assert end_runs([folder], 30)
    assert folder.read_report().status is RunStatus.CANCELED


def test_keys_are_for_their_owner_only(emulator: ServedEmulator) -> None:
    for name in ("emulator.json", "tls/ca.key", "tls/server.key"):
        assert stat.S_IMODE((emulator.root / name).stat().st_mode) == 0o600
    secrets = [emulator.services.identity.client_secret, emulator.services.identity.account_key]
    assert not [secret for secret in secrets if secret in repr(emulator) + repr(emulator.services.identity)]


def test_a_client_that_does_not_trust_the_authority_is_not_served(emulator: ServedEmulator) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{emulator.url}/_emulator/health", timeout=10)
