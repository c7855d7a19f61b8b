"""What can go wrong in this room, as a branch of the tree in :mod:`airflow_provider_amlbatch.aml.errors`.

::

    ArgumentError
    └── SpecError              a definition breaks one of Azure's rules
    AzureMLBatchError
    └── SdkError               the SDK refused, or could not do its work
        └── InterpreterError   the interpreter of ``sdk_python`` is missing or died
    RunError
    └── SmokeRunError          the trial run of a new version did not complete
"""

from __future__ import annotations

from airflow_provider_amlbatch.aml.errors import ArgumentError, AzureMLBatchError, RunError


class SpecError(ArgumentError):
    """Raised when a value of a definition breaks a rule of Azure ML. The message names the argument."""


class SdkError(AzureMLBatchError):
    """Raised when work that needs the Azure ML SDK cannot be done."""


class InterpreterError(SdkError):
    """Raised when the interpreter named by ``sdk_python`` cannot be started, or ends without an answer."""


class SmokeRunError(RunError):
    """Raised when the trial run of a new version does not complete; the endpoint keeps its old default."""
