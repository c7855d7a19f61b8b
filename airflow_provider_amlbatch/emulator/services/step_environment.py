"""What a step's processes find around them: the interpreter and the environment variables."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airflow_provider_amlbatch.aml.sdk_python import sdk_python
from airflow_provider_amlbatch.emulator.clock import Clock
from airflow_provider_amlbatch.emulator.errors import BadRequest, Unsupported
from airflow_provider_amlbatch.emulator.services.graph import EnvironmentDefinition
from airflow_provider_amlbatch.emulator.state import Identity
from airflow_provider_amlbatch.emulator.tokens import RUN_LIFETIME, Tokens

#: What the SDK sends when the author named no interpreter.
_DEFAULT_INTERPRETERS = ("", "python")


@dataclass(frozen=True)
class Interpreter:
    """The Python that scores, and why when it is not what the environment describes."""

    path: str
    note: str | None = None


@dataclass(frozen=True)
class RunContext:
    """What the variables of a run say about it."""

    step_run_id: str
    pipeline_run_id: str
    experiment_name: str
    experiment_id: str


class StepEnvironment:
    """Makes the surroundings of steps."""

    def __init__(self, identity: Identity, base_url: str, bundle: Path, tokens: Tokens, clock: Clock) -> None:
        self._identity = identity
        self._base_url = base_url
        self._bundle = bundle
        self._tokens = tokens
        self._clock = clock

    def token(self, run_id: str) -> tuple[str, datetime]:
        """A token for the processes of a run, and when it expires."""
        return self._tokens.for_run(run_id), self._clock.now() + RUN_LIFETIME

    def variables(self, context: RunContext) -> dict[str, str]:
        """The variables with which ``Run.get_context()`` finds its way back, and those of the service."""
        identity = self._identity
        token, expiry = self.token(context.step_run_id)
        return {
            "AZUREML_RUN_ID": context.step_run_id,
            "AZUREML_ROOT_RUN_ID": context.pipeline_run_id,
            "AZUREML_ARM_SUBSCRIPTION": identity.subscription_id,
            "AZUREML_ARM_RESOURCEGROUP": identity.resource_group,
            "AZUREML_ARM_WORKSPACE_NAME": identity.workspace_name,
            "AZUREML_ARM_PROJECT_NAME": context.experiment_name,
            "AZUREML_EXPERIMENT_ID": context.experiment_id,
            "AZUREML_WORKSPACE_ID": identity.workspace_id,
            "AZUREML_WORKSPACE_SCOPE": identity.scope,
            "AZUREML_RUN_TOKEN": token,
            "AZUREML_RUN_TOKEN_EXPIRY": str(int(expiry.timestamp())),
            "AZUREML_SERVICE_ENDPOINT": self._base_url,
            "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{self._base_url}/discovery",
            "AZUREML_DEFAULT_BACKOFF": "1",
            "AZUREML_DEFAULT_RETRIES": "1",
            "REQUESTS_CA_BUNDLE": str(self._bundle),
            "SSL_CERT_FILE": str(self._bundle),
            "HBI_WORKSPACE_JOB": "true",
        }


def interpreter(environment: EnvironmentDefinition, default: str | None = None) -> Interpreter:
    """Choose the Python that scores.

    An environment that manages its own dependencies and names an interpreter gets that one. Any other is scored with
    the default, because nothing is built here.

    :param environment: ``environment`` of a run configuration.
    :param default: None is the Python that has the SDK: the one that ``AMLBATCH_SDK_PYTHON`` names, or the emulator's.
    :raises BadRequest: if the interpreter that is named cannot be run.
    :raises Unsupported: if the environment is an image to be built.
    """
    default = default or sdk_python() or sys.executable
    name = environment.name or "environment"
    docker = environment.docker
    if docker is not None and (docker.base_dockerfile or docker.build_context):
        raise Unsupported(
            f"The environment {name!r} is a Dockerfile, and the emulator builds no images: install what the script "
            "needs into a Python environment, and name its interpreter with python.user_managed_dependencies=True "
            "and python.interpreter_path='/path/to/python'."
        )
    python = environment.python
    if python is not None and python.user_managed_dependencies:
        path = python.interpreter_path
        if path is None or path in _DEFAULT_INTERPRETERS:
            return Interpreter(default)
        if not os.access(path, os.X_OK):
            raise BadRequest(
                f"The environment {name!r} names the interpreter {path!r}, which cannot be run on this machine."
            )
        return Interpreter(path)
    if python is None or not python.conda_dependencies:
        return Interpreter(default)
    return Interpreter(
        default,
        f"The emulator builds no conda environments. {name!r} is scored with {default}: what the script imports must "
        "be installed there. To use another interpreter, set python.user_managed_dependencies=True and "
        "python.interpreter_path.",
    )
