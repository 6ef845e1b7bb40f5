"""`python -m kit.tied PARENT COMMAND...`: a command that gets SIGTERM when the process that started it ends, however it ends.

It becomes the command (same process id), so signals and exit codes are the command's own. PARENT is the starter's process id;
when that is gone already, nothing is run. Where the system has no parent-death signal the command is run all the same.
The kernel counts the thread that started it as the parent: start from one that lives as long as the process is wanted.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def tied(command: Sequence[str]) -> list[str]:
    """`command` as it is to be started by this process."""
    return [sys.executable, "-m", "kit.tied", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> int:
    """Exit code 2 for a wrong call, 1 when the parent is gone; else it does not return."""
    if len(arguments) < 2 or not arguments[0].isdecimal():
        print("usage: python -m kit.tied PARENT COMMAND...", file=sys.stderr)  # noqa: T201 - a command line's answer
        return 2
    parent = int(arguments[0])
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # Checked after the request: a parent that ended before it sends nothing.
    if os.getppid() != parent:
        return 1
    return _become(arguments[1:])


def _become(command: Sequence[str]) -> NoReturn:
    os.execvp(command[0], list(command))  # noqa: S606 - the caller's own command, no shell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
