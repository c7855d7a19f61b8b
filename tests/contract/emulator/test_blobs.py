"""The blob service, judged by azure-storage-blob; and signatures that must not be believed."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from airflow_provider_amlbatch.emulator.faults import Fault
from airflow_provider_amlbatch.testing import ServedEmulator

NAMES = ["a-b", "a/1", "a/2/x", "a/2/y", "a0", "b/ü 1%.txt", "b/1+1=2&3", "c"]


def account_url(emulator: ServedEmulator) -> str:
    account = emulator.services.identity.account_name
    return f"https://{account}.blob.core.local@{urlsplit(emulator.url).netloc}"


def service(emulator: ServedEmulator, credential: str | None = None, **options: object) -> BlobServiceClient:
    """A client of the account; with the account's key unless it is given something else."""
    key = emulator.services.identity.account_key if credential is None else credential
    options.setdefault("retry_total", 0)
    return BlobServiceClient(account_url(emulator), key or None, connection_verify=emulator.ca_bundle, **options)


@pytest.fixture
def container(emulator: ServedEmulator, request: pytest.FixtureRequest) -> ContainerClient:
    name = "t" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    return service(emulator).create_container(name)


@pytest.fixture
def listed(container: ContainerClient) -> ContainerClient:
    for name in NAMES:
        container.upload_blob(name, name.encode(), metadata={"length": str(len(name))})
    return container


def test_lists_in_the_order_of_names_page_by_page(listed: ContainerClient) -> None:
    assert [blob.name for blob in listed.list_blobs()] == sorted(NAMES)
    assert [blob.name for blob in listed.list_blobs(name_starts_with="a/2/")] == ["a/2/x", "a/2/y"]
    assert [blob.name for blob in listed.list_blobs(name_starts_with="a")] == ["a-b", "a/1", "a/2/x", "a/2/y", "a0"]
    pages = [[blob.name for blob in page] for page in listed.list_blobs(results_per_page=3).by_page()]
    assert pages == [sorted(NAMES)[:3], sorted(NAMES)[3:6], sorted(NAMES)[6:]]


def test_lists_a_level_at_a_time(listed: ContainerClient) -> None:
    for size in (1, 2, 5000):
        entries = [blob.name for blob in listed.walk_blobs(results_per_page=size)]
        assert sorted(entries) == ["a-b", "a/", "a0", "b/", "c"]
    assert sorted(blob.name for blob in listed.walk_blobs("a/")) == ["a/1", "a/2/"]


def test_lists_with_metadata_and_properties(listed: ContainerClient) -> None:
    blobs = {blob.name: blob for blob in listed.list_blobs(include=["metadata"])}
    assert {name: blob.metadata for name, blob in blobs.items()} == {name: {"length": str(len(name))} for name in NAMES}
    assert {name: blob.size for name, blob in blobs.items()} == {name: len(name.encode()) for name in NAMES}
    plain = next(iter(listed.list_blobs()))
    assert not plain.metadata
    assert plain.etag == listed.get_blob_client(plain.name).get_blob_properties().etag.strip('"')


def test_properties_come_back(container: ContainerClient) -> None:
    content = b"a,b\n1,2\n"
    settings = ContentSettings(content_type="text/csv")
    container.upload_blob("x.csv", content, metadata={"One": "1"}, content_settings=settings, validate_content=True)
    found = container.get_blob_client("x.csv").get_blob_properties()
    assert found.size == len(content)
    assert found.content_settings.content_type == "text/csv"
    assert found.content_settings.content_md5 == bytearray(hashlib.md5(content).digest())
    assert found.metadata == {"one": "1"}
    assert abs(found.last_modified - datetime.now(UTC)) < timedelta(minutes=1)

    container.get_blob_client("x.csv").set_blob_metadata({"two": "2"})
    found = container.get_blob_client("x.csv").get_blob_properties()
    assert found.metadata == {"two": "2"}
    assert found.content_settings.content_type == "text/csv"


def test_large_content_goes_up_in_blocks_and_comes_down_in_ranges(emulator: ServedEmulator) -> None:
    content = os.urandom(5_000_011)
    small = service(emulator, max_single_put_size=1 << 20, max_block_size=700_001, max_single_get_size=1 << 20,
                    max_chunk_get_size=900_001)  # fmt: skip
    blob = small.get_blob_client("azureml", "ranges/large.bin")
    blob.upload_blob(content, overwrite=True, max_concurrency=2)
    assert blob.download_blob(max_concurrency=2).readall() == content
    assert blob.download_blob(offset=10, length=5).readall() == content[10:15]
    assert blob.download_blob(offset=5_000_000, length=100).readall() == content[5_000_000:]
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(offset=5_000_011, length=1)
    assert refused.value.status_code == 416


def test_append_blobs_grow_at_their_end(container: ContainerClient) -> None:
    log = container.get_blob_client("logs/one.csv")
    log.create_append_blob(content_settings=ContentSettings(content_type="text/csv"), metadata={"made": "here"})
    for number in range(3):
        told = log.append_block(f"{number}\n".encode(), appendpos_condition=2 * number)
        assert told["blob_append_offset"] == str(2 * number)
    found = log.get_blob_properties()
    assert (found.blob_type, found.size, found.content_settings.content_type) == ("AppendBlob", 6, "text/csv")
    assert found.metadata == {"made": "here"}
    assert [blob.blob_type for blob in container.list_blobs()] == ["AppendBlob"]
    assert log.download_blob().readall() == b"0\n1\n2\n"
    with pytest.raises(HttpResponseError) as moved:
        log.append_block(b"x", appendpos_condition=0)
    assert moved.value.error_code == "AppendPositionConditionNotMet"
    container.upload_blob("block", b"1")
    with pytest.raises(HttpResponseError) as other:
        container.get_blob_client("block").append_block(b"2")
    assert other.value.error_code == "InvalidBlobType"
    with pytest.raises(ResourceNotFoundError):
        container.get_blob_client("none").append_block(b"1")


def test_unknown_blocks_are_refused(container: ContainerClient) -> None:
    blob = container.get_blob_client("blocks")
    blob.stage_block("one", b"1")
    blob.stage_block("two", b"22")
    blob.commit_block_list(["two", "one", "two"])
    assert blob.download_blob().readall() == b"22122"
    with pytest.raises(HttpResponseError) as refused:
        blob.commit_block_list(["one"])
    assert refused.value.error_code == "InvalidBlockList"
    assert blob.download_blob().readall() == b"22122"


def test_conditions_hold(container: ContainerClient) -> None:
    blob = container.get_blob_client("x")
    first = blob.upload_blob(b"1")["etag"]
    with pytest.raises(ResourceExistsError) as exists:
        blob.upload_blob(b"2")
    assert exists.value.error_code == "BlobAlreadyExists"
    second = blob.upload_blob(b"22", overwrite=True)["etag"]
    assert second != first
    with pytest.raises(ResourceModifiedError) as changed:
        blob.upload_blob(b"3", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified)
    assert changed.value.error_code == "ConditionNotMet"
    with pytest.raises(ResourceModifiedError):
        blob.download_blob(etag=first, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError) as same:
        blob.download_blob(etag=second, match_condition=MatchConditions.IfModified)
    assert same.value.status_code == 304
    assert blob.download_blob(etag=second, match_condition=MatchConditions.IfNotModified).readall() == b"22"


def test_what_is_missing_is_said_to_be(container: ContainerClient, emulator: ServedEmulator) -> None:
    blob = container.get_blob_client("x")
    for action in (blob.get_blob_properties, blob.download_blob, blob.delete_blob):
        with pytest.raises(ResourceNotFoundError) as missing:
            action()
        assert missing.value.error_code == "BlobNotFound"
    with pytest.raises(ResourceNotFoundError) as missing:
        service(emulator).get_container_client("none-here").upload_blob("x", b"")
    assert missing.value.error_code == "ContainerNotFound"
    with pytest.raises(ResourceExistsError):
        service(emulator).create_container(container.container_name)
    assert container.exists()
    assert not service(emulator).get_container_client("none-here").exists()
    assert container.container_name in [found.name for found in service(emulator).list_containers()]


def test_a_deleted_blob_is_gone(container: ContainerClient) -> None:
    container.upload_blob("x/y", b"")
    container.delete_blob("x/y")
    assert list(container.list_blobs()) == []
    container.upload_blob("x", b"now a file")  # its name was a folder's


def test_damaged_content_is_refused(container: ContainerClient) -> None:
    blob = container.get_blob_client("x")
    wrong = base64.b64encode(hashlib.md5(b"else").digest()).decode()
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"content", headers={"Content-MD5": wrong})
    assert refused.value.error_code == "Md5Mismatch"
    assert not blob.exists()


@pytest.mark.parametrize("name", ["a//b", "a/", "x" * 300, "y" * 1025])
def test_names_that_are_no_files_are_refused_by_name(container: ContainerClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        container.upload_blob(name, b"")
    assert refused.value.status_code == 400
    assert refused.value.error_code in ("EmulatorUnsupported", "InvalidResourceName")


def test_a_blob_below_a_blob_is_refused_and_leaves_no_trace(container: ContainerClient) -> None:
    container.upload_blob("a", b"1")
    with pytest.raises(HttpResponseError) as refused:
        container.upload_blob("a/b", b"2")
    assert refused.value.error_code == "EmulatorUnsupported"
    assert [blob.name for blob in container.list_blobs()] == ["a"]


def test_what_is_not_done_is_refused_by_name(container: ContainerClient) -> None:
    blob = container.get_blob_client("x")
    blob.upload_blob(b"1")
    for action in (
        lambda: container.get_blob_client("y").start_copy_from_url(blob.url),
        lambda: container.get_blob_client("y").create_page_blob(512),
        lambda: blob.acquire_lease(),
        lambda: blob.create_snapshot(),
        lambda: container.delete_container(),
    ):
        with pytest.raises(HttpResponseError) as refused:
            action()
        assert refused.value.error_code == "EmulatorUnsupported"
        assert refused.value.status_code == 400


# Signatures. The client library signs; the emulator must come to the same conclusion, or to none.


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_a_wrong_key_is_refused(emulator: ServedEmulator) -> None:
    wrong = base64.b64encode(b"wrong" * 12).decode()
    blob = service(emulator, wrong).get_blob_client("azureml", "key")
    with pytest.raises(ClientAuthenticationError) as refused:
        blob.upload_blob(b"")
    assert refused.value.error_code == "AuthenticationFailed"
    assert emulator.services.identity.account_key not in str(refused.value)


def test_no_signature_is_refused(emulator: ServedEmulator) -> None:
    with pytest.raises(HttpResponseError) as refused:
        service(emulator, "").get_blob_client("azureml", "none").upload_blob(b"")
    assert (refused.value.status_code, refused.value.error_code) == (401, "NoAuthenticationInformation")
    with pytest.raises(HttpResponseError):
        list(service(emulator, "").get_container_client("azureml").list_blobs())


class Signed:
    """Tokens that the client library signs with the account's key, and a blob to use them on."""

    def __init__(self, emulator: ServedEmulator) -> None:
        identity = emulator.services.identity
        self.emulator = emulator
        self.account = {"account_name": identity.account_name, "account_key": identity.account_key}
        self.blob = service(emulator).get_blob_client("azureml", "signed/ä 1.txt")
        self.blob.upload_blob(b"content", overwrite=True)

    def of_blob(self, permission: BlobSasPermissions, **more: object) -> str:
        expiry = more.pop("expiry", in_an_hour())
        return generate_blob_sas(
            **self.account, container_name="azureml", blob_name=self.blob.blob_name, permission=permission,
            expiry=expiry, **more,
        )  # fmt: skip

    def using(self, token: str, name: str | None = None, container: str = "azureml") -> BlobClient:
        return service(self.emulator, token).get_blob_client(container, name or self.blob.blob_name)


@pytest.fixture
def signed(emulator: ServedEmulator) -> Signed:
    return Signed(emulator)


def test_a_blob_token_lets_do_what_it_grants(signed: Signed) -> None:
    read = signed.using(signed.of_blob(BlobSasPermissions(read=True)))
    assert read.download_blob().readall() == b"content"
    for refused_action in (lambda: read.upload_blob(b"x", overwrite=True), read.delete_blob):
        with pytest.raises(HttpResponseError) as refused:
            refused_action()
        assert (refused.value.status_code, refused.value.error_code) == (403, "AuthorizationPermissionMismatch")
    signed.using(signed.of_blob(BlobSasPermissions(write=True))).upload_blob(b"content", overwrite=True)


def test_a_token_for_one_blob_is_not_for_another(signed: Signed) -> None:
    token = signed.of_blob(BlobSasPermissions(read=True))
    with pytest.raises(ClientAuthenticationError):
        signed.using(token, "signed/other").download_blob()


def test_a_token_that_was_changed_is_refused(signed: Signed) -> None:
    token = signed.of_blob(BlobSasPermissions(read=True))
    for old, new in (("sp=r", "sp=rw"), ("se=20", "se=21"), ("sig=", "sig=A")):
        assert old in token
        with pytest.raises(ClientAuthenticationError):
            signed.using(token.replace(old, new, 1)).download_blob()


def test_a_token_is_refused_before_and_after_its_time(signed: Signed) -> None:
    past = datetime.now(UTC) - timedelta(seconds=5)
    for times in ({"expiry": past}, {"start": datetime.now(UTC) + timedelta(minutes=30)}):
        with pytest.raises(ClientAuthenticationError):
            signed.using(signed.of_blob(BlobSasPermissions(read=True), **times)).download_blob()


def test_container_tokens(signed: Signed, emulator: ServedEmulator) -> None:
    token = generate_container_sas(
        **signed.account, container_name="azureml", permission=ContainerSasPermissions(read=True, list=True),
        expiry=in_an_hour(),
    )  # fmt: skip
    assert signed.using(token).download_blob().readall() == b"content"
    names = service(emulator, token).get_container_client("azureml").list_blob_names(name_starts_with="signed/")
    assert list(names) == ["signed/ä 1.txt"]
    with pytest.raises(ClientAuthenticationError):
        list(service(emulator, token).get_container_client("snapshots").list_blobs())


def test_account_tokens(signed: Signed, emulator: ServedEmulator) -> None:
    def token(types: ResourceTypes) -> str:
        permission = AccountSasPermissions(read=True, list=True)
        return generate_account_sas(**signed.account, resource_types=types, permission=permission, expiry=in_an_hour())

    assert signed.using(token(ResourceTypes(object=True))).download_blob().readall() == b"content"
    assert list(service(emulator, token(ResourceTypes(container=True))).get_container_client("azureml").list_blobs())
    with pytest.raises(HttpResponseError) as refused:
        signed.using(token(ResourceTypes(container=True))).download_blob()
    assert refused.value.error_code == "AuthorizationResourceTypeMismatch"


def test_our_own_addresses_work_for_any_client_until_they_expire(signed: Signed, emulator: ServedEmulator) -> None:
    url = emulator.services.blob.signed_url("azureml", signed.blob.blob_name, lifetime=timedelta(hours=1))
    plain = requests.get(url, verify=emulator.ca_bundle, timeout=10)
    assert (plain.status_code, plain.content) == (200, b"content")
    assert quote("ä 1.txt") in url
    emulator.clock.shift(timedelta(hours=1))
    try:
        late = requests.get(url, verify=emulator.ca_bundle, timeout=10)
    finally:
        emulator.clock.shift(timedelta(hours=-1))
    assert late.status_code == 403
    assert late.headers["x-ms-error-code"] == "AuthenticationFailed"


def test_nothing_is_left_in_the_staging_folder(container: ContainerClient, emulator: ServedEmulator) -> None:
    container.upload_blob("x", b"1")
    container.get_blob_client("y").stage_block("one", b"1")
    container.get_blob_client("y").commit_block_list(["one"])
    staging = Path(emulator.root) / "staging"
    assert [path for path in staging.rglob("*") if path.is_file() and container.container_name in str(path)] == []


def test_an_upload_in_blocks_survives_the_loss_of_its_last_answer(
    emulator: ServedEmulator, container: ContainerClient
) -> None:
    for kind in ("reset_after", "truncate"):

        def arm(request: Any, kind: str = kind) -> None:
            if "comp=blocklist" in request.http_request.url and request.context.get("retry_count", 0) == 0:
                emulator.services.faults.arm(Fault(operation="PUT /_blob/.*big", kind=kind), ())

        blob = service(
            emulator, retry_total=3, initial_backoff=0, increment_base=0, max_single_put_size=1024, max_block_size=1024
        ).get_blob_client(container.container_name, "big")
        content = kind.encode() * 1000
        blob.upload_blob(content, overwrite=True, raw_request_hook=arm, max_concurrency=1)
        assert blob.download_blob().readall() == content
        assert emulator.services.faults.report().all_consumed
    emulator.services.faults.clear()
