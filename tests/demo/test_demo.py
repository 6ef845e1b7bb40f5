"""`make demo`, as it is run: to its end, and interrupted in every way."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import ecdsa
import pytest
from eth_account import Account
from processes import Process, clean_environment

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "tools" / "demo.py"
TAG = "WALLET_MPC_DEMO_TEST"
END = 60.0


class Demo(Process):
    """The demo with a mark in its environment, which everything that it starts inherits."""

    def __init__(self, directory: Path, args: Sequence[str] = (str(DEMO),)) -> None:
        self.tag = f"{TAG}={uuid.uuid4().hex}"
        name, value = self.tag.split("=")
        environment = clean_environment({name: value, "TMPDIR": str(directory)})
        super().__init__([sys.executable, *args], env=environment)

    def family(self) -> dict[int, str]:
        """Command lines of all processes that carry the mark, by process id."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdecimal() and self.tag.encode() in (folder / "environ").read_bytes().split(
                    b"\0"
                ):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    if words != [b""]:
                        found[int(folder.name)] = b" ".join(words).decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found


def wait_for_all(pids: list[int]) -> list[int]:
    """Those that are still there after a while, which should be none."""
    deadline = time.monotonic() + END
    left = []
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            left.append(pid)
        os.close(handle)
    return left


def assert_nothing_is_left(demo: Demo, before: dict[int, str], directory: Path) -> None:
    assert not wait_for_all(list(before)), before
    assert demo.family() == {}
    assert list(directory.iterdir()) == []


@pytest.mark.full_size
def test_every_pair_signs_and_nothing_is_left(tmp_path: Path):
    with Demo(tmp_path) as demo:
        demo.wait_for(r"^\$ mpc-keygen create", timeout=120)
        family = demo.family()
        assert sum("sign_service.main" in line for line in family.values()) == 3
        assert sum("gateway.main" in line for line in family.values()) == 1
        assert demo.wait(400) == 0, demo.output
        results = json.loads(demo.stdout[-1])
        assert_nothing_is_left(demo, family, tmp_path)
    assert [result["signers"] for result in results] == [[0, 1], [0, 1], [0, 2], [0, 2], [1, 2], [1, 2]]
    assert ["raw_transaction" in result for result in results] == [True, False] * 3
    assert len({result["public_key"] for result in results}) == 1
    assert len({result["r"] for result in results}) == 6
    for result in results:
        key = ecdsa.VerifyingKey.from_string(bytes.fromhex(result["public_key"][2:]), curve=ecdsa.SECP256k1)
        signature = bytes.fromhex(result["r"][2:] + result["s"][2:])
        assert key.verify_digest(signature, bytes.fromhex(result["digest"][2:]))
        if "raw_transaction" in result:
            assert Account.recover_transaction(result["raw_transaction"]) == result["address"]


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, r"starting a gateway"),
        (signal.SIGTERM, r"^account main: aux"),
        (signal.SIGHUP, r"^\$ mpc-keygen create"),
    ],
)
def test_interrupted(tmp_path: Path, number: signal.Signals, when: str):
    with Demo(tmp_path) as demo:
        demo.wait_for(when, timeout=120)
        before = demo.family()
        demo.send_signal(number)
        assert demo.wait() == 128 + number, demo.output
        assert demo.stdout[-1] == "interrupted: everything is stopped"
        assert_nothing_is_left(demo, before, tmp_path)


def test_killed(tmp_path: Path):
    with Demo(tmp_path) as demo:
        demo.wait_for(r"^\$ mpc-keygen create", timeout=120)
        before = demo.family()
        assert len(before) >= 5
        demo.send_signal(signal.SIGKILL)
        assert demo.wait() == -signal.SIGKILL
        assert not wait_for_all(list(before)), before
        assert demo.family() == {}


def test_it_ends_when_make_is_killed(tmp_path: Path):
    call = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    with Demo(tmp_path, ["-c", call, str(DEMO), "--with-parent"]) as make:
        make.wait_for(r"^\$ mpc-keygen create", timeout=120)
        before = make.family()
        assert len(before) >= 6
        make.send_signal(signal.SIGKILL)
        assert_nothing_is_left(make, before, tmp_path)
