"""Runs steps in processes of their own, which end where they are told to: `python server.py`, with the shim preloaded.

A request is a line of JSON: step, directory, call (the number of the last system call that is made; null: run to the end),
mode ("a": the call is made; "s": half of it), record (where to write down all calls; null: nowhere). The answer:
status as of waitpid, and what left the process, in hexadecimal. Everything is imported once; a step runs in a fork.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path

from crashing.steps import STEPS

NEVER = 1 << 60
HEADER = 4


def run(request: dict) -> None:
    """In the child."""
    step, directory = STEPS[request["step"]], Path(request["directory"])
    sent = request["sent"]
    call = NEVER if request["call"] is None else request["call"]
    shim = ctypes.CDLL(None)

    def arm() -> None:
        shim.crash_arm(ctypes.c_long(call), ord(request["mode"]))

    def post(message: bytes) -> None:
        os.write(sent, len(message).to_bytes(HEADER, "big") + message)

    shim.crash_watch(os.fsencode(directory), sent, os.fsencode(request["record"] or ""))
    step.run(directory, post, arm)


def messages(data: bytes) -> list[str]:
    """What is whole of the frames in `data`."""
    found = []
    while len(data) >= HEADER and len(data) >= HEADER + int.from_bytes(data[:HEADER], "big"):
        size = HEADER + int.from_bytes(data[:HEADER], "big")
        found.append(data[HEADER:size].hex())
        data = data[size:]
    return found


def serve(request: dict) -> dict:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            run({**request, "sent": writer})
            sys.stderr.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child never returns into the server's loop
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "sent": messages(data)}


def main() -> None:
    for step in STEPS.values():
        if hasattr(step, "recorded"):
            _ = step.recorded
    for line in sys.stdin:
        request = json.loads(line)
        if request["step"] == "prepare":
            STEPS[request["of"]].prepare(Path(request["directory"]))
            answer: dict = {}
        else:
            answer = serve(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
