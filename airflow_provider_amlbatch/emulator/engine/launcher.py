"""Become another program that dies when the engine dies, and that cannot write to its inputs. Standard library only.

``python launcher.py PARENT_PID VIEW PROGRAM ARGUMENT...`` puts read-only mounts over the inputs, which only the program
and what it starts can see, asks the kernel for the signal that ends an orphan, and replaces itself by the program,
which keeps mounts, request, process id and descriptors. VIEW is ``{"read_only": [folder, ...], "writable": [...]}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 1 << 5, 1 << 12, 1 << 14, 1 << 18
#: Flags of a mount (nosuid, nodev, noexec, noatime, nodiratime) that a mount on top of it has to keep.
_KEPT = 2 | 4 | 8 | 1024 | 2048


def main(arguments: list[str]) -> None:
    """Replace this process by the program.

    :param arguments: the process id of the parent, what is to be seen read-only, the program and its arguments.
    """
    parent, view, *command = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _change_view(libc, **json.loads(view))
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # last: a change of what a process may do forgets it
    if os.getppid() != int(parent):  # it died before the request stood
        sys.exit("The process that started this one is gone.")
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is the engine's own
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}")


def _change_view(libc: ctypes.CDLL, read_only: list[str], writable: list[str]) -> None:
    """Mount paths read-only, and writable ones below them. Where the system lets no process do it, nothing changes."""
    if not read_only:
        return
    trial = os.fork()  # a change that stops half-way cannot be taken back
    if trial == 0:
        try:
            _mount(libc, read_only, writable)
        except BaseException:
            os._exit(1)
        os._exit(0)
    if os.waitpid(trial, 0)[1] == 0:
        _mount(libc, read_only, writable)


def _mount(libc: ctypes.CDLL, read_only: list[str], writable: list[str]) -> None:
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNS) != 0:
        _check(libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    for flags, paths in ((_MS_RDONLY, read_only), (0, writable)):
        for path in paths:
            place = os.fsencode(path)
            _check(libc.mount(place, place, None, _MS_BIND | _MS_REC, None))
            kept = os.statvfs(place).f_flag & _KEPT
            _check(libc.mount(None, place, None, _MS_REMOUNT | _MS_BIND | flags | kept, None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


if __name__ == "__main__":
    main(sys.argv[1:])
