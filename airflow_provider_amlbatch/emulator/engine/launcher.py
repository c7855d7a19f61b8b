"""Become another program that dies when the engine dies. Standard library only.

``python launcher.py PARENT_PID PROGRAM ARGUMENT...`` asks the kernel for the signal that ends an orphan, then replaces
itself by the program, which keeps the request, the process id and the descriptors.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Replace this process by the program.

    :param arguments: the process id of the parent, then the program and its arguments.
    """
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the request stood
        sys.exit("The process that started this one is gone.")
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is the engine's own
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
