"""The Python that has the Azure ML SDK, where this one has not: the SDK has no release for Python 3.12 or later."""

from __future__ import annotations

import os

#: Names it for everything that uses the SDK or runs scripts that do: operators, emulator, ``run_sdk()``.
VARIABLE = "AMLBATCH_SDK_PYTHON"


def sdk_python() -> str | None:
    """Path of the interpreter that the environment names; None means this one."""
    return os.environ.get(VARIABLE) or None
