"""Where a script wants to find its inputs and outputs, if it says so: ``path_on_compute``."""

from __future__ import annotations

from pathlib import PurePosixPath

from airflow_provider_amlbatch.emulator.errors import Unsupported
from airflow_provider_amlbatch.emulator.services.graph import ModuleNode


def links(node: ModuleNode, places: dict[str, str], *, is_script: bool) -> dict[str, str]:
    """The links to be made in a script's working folder: their targets by path.

    :param places: local path of each input and output, by name.
    :raises Unsupported: if a path lies outside of the working folder, or the step has no such folder.
    """
    found: dict[str, str] = {}
    for setting in (*(node.module_input_settings or ()), *(node.module_output_settings or ())):
        path = setting.path_on_compute
        if path is None or setting.name not in places:
            continue
        parts = PurePosixPath(path).parts
        if not is_script or path.startswith("/") or ".." in parts or not parts:
            raise Unsupported(
                f"The emulator cannot put {setting.name!r} at path_on_compute={path!r}: it runs on your machine, so "
                "the path must be relative, and the step a PythonScriptStep. Leave it out, and take the path from the "
                "step's arguments."
            )
        found[str(PurePosixPath(path))] = places[setting.name]
    return found
