"""What can go wrong in this room.

.. code-block:: text

    ValueError
    └── SpecError
    RuntimeError
    └── SdkError
        ├── InterpreterError
        └── PublishError
            └── SmokeRunError
"""

from __future__ import annotations


class SpecError(ValueError):
    """Raised when a value of a definition breaks a rule of Azure ML. The message names the argument."""


class SdkError(RuntimeError):
    """Raised when work that needs the Azure ML SDK cannot be done."""


class InterpreterError(SdkError):
    """Raised when the interpreter named by ``sdk_python`` cannot be started or fails without an answer."""


class PublishError(SdkError):
    """Raised when a pipeline cannot be published or set as the default of its endpoint."""


class SmokeRunError(PublishError):
    """Raised when the smoke run of a new version did not complete; the endpoint keeps its old default."""
