"""Compute: clusters by name. They bound how many nodes a job gets; nothing is rented."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from airflow_provider_amlbatch.aml.wire import Camel, Instant, format_time
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, NotFound, Unsupported
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.store import Store

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,22}[A-Za-z0-9])?")
#: How far a cluster scales unless something is said.
_DEFAULT_NODES = 4


class ComputeResource(Camel):
    """A compute target as the resource manager writes it."""

    name: str | None = None
    location: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, Any] = {}


class _Cluster(Camel):
    name: str
    tags: dict[str, str] = {}
    description: str | None = None
    vm_size: str
    vm_priority: str
    min_nodes: int
    max_nodes: int
    idle_time: str
    created: Instant
    modified: Instant


@dataclass(frozen=True)
class Capacity:
    """What a job may use of a cluster."""

    name: str
    vm_size: str
    max_nodes: int


class ComputeService:
    """The workspace's clusters."""

    def __init__(self, identity: Identity, base_url: str, store: Store, clock: Clock) -> None:
        self._identity = identity
        self._base_url = base_url
        self._store = store
        self._clock = clock
        self._clusters = store.collection("computes", _Cluster)

    def capacity(self, name: str) -> Capacity:
        """What a job may use of a cluster.

        :raises NotFound: if there is no cluster of that name.
        """
        cluster = self._existing(name)
        return Capacity(cluster.name, cluster.vm_size, cluster.max_nodes)

    def get(self, name: str) -> dict[str, Any]:
        """A cluster as a resource.

        :raises NotFound: if there is none.
        """
        return self._resource(self._existing(name))

    def list_computes(self) -> dict[str, Any]:
        """All clusters, in one page: the SDK would follow a ``nextLink`` that is null."""
        return {"value": [self._resource(cluster) for cluster in self._clusters.find()]}

    def put(self, name: str, given: ComputeResource) -> dict[str, Any]:
        """Make a cluster, or change it.

        :raises Unsupported: if it is something else than an AmlCompute cluster.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"The compute name {name!r} is not valid: 1 to 24 letters, digits and hyphens, beginning with a letter "
                "and not ending with a hyphen.",
                code="InvalidComputeName",
            )
        kind = given.properties.get("computeType")
        if kind != "AmlCompute":
            raise Unsupported(f"The emulator has AmlCompute clusters only, not compute of type {kind!r}.")
        inner = given.properties.get("properties") or {}
        with self._store.transaction():
            before = self._clusters.get(name.lower())
            low, high, idle = _scale(inner, before)
            now = self._clock.now()
            cluster = _Cluster(
                name=before.name if before is not None else name,
                tags=given.tags or {},
                description=given.properties.get("description"),
                vm_size=inner.get("vmSize") or "STANDARD_NC6",
                vm_priority=inner.get("vmPriority") or "Dedicated",
                min_nodes=low,
                max_nodes=high,
                idle_time=idle,
                created=before.created if before is not None else now,
                modified=now,
            )
            return self._resource(self._clusters.put(name.lower(), cluster))

    def patch(self, name: str, given: ComputeResource) -> dict[str, Any]:
        """Change how far a cluster scales."""
        with self._store.transaction():
            cluster = self._existing(name)
            low, high, idle = _scale(given.properties.get("properties") or {}, cluster)
            update = {"min_nodes": low, "max_nodes": high, "idle_time": idle, "modified": self._clock.now()}
            return self._resource(self._clusters.put(name.lower(), cluster.model_copy(update=update)))

    def delete(self, name: str) -> None:
        """Remove a cluster.

        :raises NotFound: if there is none.
        """
        self._existing(name)
        self._clusters.delete(name.lower())

    def operation_url(self) -> str:
        """Address that says how far a change is. Here every change is done at once."""
        return (
            f"{self._base_url}/subscriptions/{self._identity.subscription_id}"
            f"/providers/Microsoft.MachineLearningServices/locations/{self._identity.location}"
            f"/computeOperationsStatus/{uuid.uuid4()}?api-version=2020-02-02"
        )

    def _existing(self, name: str) -> _Cluster:
        cluster = self._clusters.get(name.lower())
        if cluster is None:
            raise NotFound(f"The compute {name!r} was not found.", code="ComputeNotFound")
        return cluster

    def _resource(self, cluster: _Cluster) -> dict[str, Any]:
        location = self._identity.location
        return {
            "id": f"{self._identity.scope}/computes/{cluster.name}",
            "name": cluster.name,
            "type": "Microsoft.MachineLearningServices/workspaces/computes",
            "location": location,
            "tags": cluster.tags,
            "properties": {
                "computeType": "AmlCompute",
                "computeLocation": location,
                "description": cluster.description,
                "provisioningState": "Succeeded",
                "provisioningErrors": None,
                "resourceId": None,
                "createdOn": format_time(cluster.created),
                "modifiedOn": format_time(cluster.modified),
                "isAttachedCompute": False,
                # "userAccountCredentials" must be absent, and "subnet" present: the SDK looks into both unasked.
                "properties": {
                    "vmSize": cluster.vm_size,
                    "vmPriority": cluster.vm_priority,
                    "scaleSettings": {
                        "minNodeCount": cluster.min_nodes,
                        "maxNodeCount": cluster.max_nodes,
                        "nodeIdleTimeBeforeScaleDown": cluster.idle_time,
                    },
                    "allocationState": "Steady",
                    "allocationStateTransitionTime": format_time(cluster.modified),
                    "currentNodeCount": cluster.min_nodes,
                    "targetNodeCount": cluster.min_nodes,
                    "nodeStateCounts": {
                        "preparingNodeCount": 0,
                        "runningNodeCount": 0,
                        "idleNodeCount": cluster.min_nodes,
                        "unusableNodeCount": 0,
                        "leavingNodeCount": 0,
                        "preemptedNodeCount": 0,
                    },
                    "errors": None,
                    "subnet": None,
                    "remoteLoginPortPublicAccess": "NotSpecified",
                },
            },
        }


def _scale(inner: dict[str, Any], before: _Cluster | None) -> tuple[int, int, str]:
    settings = inner.get("scaleSettings") or {}
    low, high = settings.get("minNodeCount"), settings.get("maxNodeCount")
    idle = settings.get("nodeIdleTimeBeforeScaleDown")
    if before is not None:
        low = before.min_nodes if low is None else low
        high = before.max_nodes if high is None else high
        idle = before.idle_time if idle is None else idle
    try:
        least, most = int(low or 0), int(high if high is not None else _DEFAULT_NODES)
    except (TypeError, ValueError):
        raise BadRequest("minNodeCount and maxNodeCount are whole numbers.", code="InvalidScaleSettings") from None
    if not 0 <= least <= most or most < 1:
        raise BadRequest(
            f"A cluster scales from minNodeCount={least} to maxNodeCount={most}, which is not possible: "
            "0 <= minNodeCount <= maxNodeCount, and maxNodeCount at least 1.",
            code="InvalidScaleSettings",
        )
    return least, most, str(idle or "PT1800S")
