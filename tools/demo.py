"""`make demo`: a key that three sign-services make together, and every pair of them signing with it.

Starts a gateway and three sign-services as processes of their own on free loopback ports, has them generate a key, and asks
each of the three pairs for an EIP-1559 transaction and a digest, with the commands that a user would type. Every signature is
checked by eth-account, eth-keys and ecdsa, none of them ours. The last line on standard output is one JSON array of the six
objects that `mpc-client sign --json` printed.

Nothing is left behind: neither processes nor files, also when it is interrupted (Ctrl-C, SIGTERM, SIGHUP) or killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ecdsa
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_keys import keys

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kit.tied import PR_SET_PDEATHSIG, tied  # noqa: E402 - the project is run from its source tree

ACCOUNT = "main"
PAIRS = ((0, 1), (0, 2), (1, 2))
MODULES = {
    "sign-gateway": "gateway.main",
    "sign-service": "sign_service.main",
    "mpc-keygen": "keygen.main",
    "mpc-client": "client.main",
}
PORTS = 40
START_SECONDS = 60
STOP_SECONDS = 10
TAIL = 30
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class DemoFailed(Exception):
    """The text says what did not work."""


def say(text: str = "") -> None:
    print(text, flush=True)


def command(name: str, *args: str) -> list[str]:
    """argv of one of our commands, run from the source tree."""
    return [sys.executable, "-m", MODULES[name], *args]


def environment() -> dict[str, str]:
    """Ours without settings of the daemons, which would win over the demo's files."""
    ours = ("SIGN_GATEWAY__", "SIGN_SERVICE_", "MPC_CLIENT__", "MPC_KEYGEN__")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Nothing is made for later, neither primes for a second key nor presignatures: it would be at the cost of what is shown.
    more = {"SIGN_SERVICE__PRIMES__TARGET": "0", "SIGN_SERVICE__STOCK__TARGET": "0"}
    return found | more | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def free_block() -> int:
    """The first of PORTS neighbouring loopback ports that nobody listens on."""
    for _ in range(200):
        # Below the ports that the system hands out by itself.
        base = 20_000 + PORTS * secrets.randbelow(300)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + PORTS):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise DemoFailed("no block of free ports was found on 127.0.0.1")


class Daemon:
    """A child that leads a process group of its own and ends with us, however we end."""

    def __init__(self, name: str, child: asyncio.subprocess.Process) -> None:
        self.name = name
        self.output: list[str] = []
        self._child = child
        self._grown = asyncio.Event()
        self._readers = [
            asyncio.create_task(self._read(stream)) for stream in (child.stdout, child.stderr) if stream
        ]

    @classmethod
    async def start(cls, name: str, argv: list[str], directory: Path) -> Daemon:
        child = await asyncio.create_subprocess_exec(
            *tied(argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
            env=environment(),
            start_new_session=True,
        )
        return cls(name, child)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.output.append(line.decode("utf-8", "replace").rstrip("\n"))
            self._grown.set()
        self._grown.set()

    async def says(self, pattern: str) -> None:
        """Wait for a line. Raises DemoFailed with what it said instead."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not any(re.search(pattern, line) for line in self.output):
                    if all(reader.done() for reader in self._readers):
                        raise self.failure("ended")
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError:
            raise self.failure(f"did not say {pattern!r} in {START_SECONDS} s") from None

    def failure(self, what: str) -> DemoFailed:
        return DemoFailed("\n".join([f"{self.name} {what}; its last words:", *self.output[-TAIL:]]))

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.wait()
        except TimeoutError:
            say(f"{self.name} did not end in {STOP_SECONDS} s and is killed")
        finally:
            # The whole group: also what the daemon started.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            await self._child.wait()
            await asyncio.gather(*self._readers, return_exceptions=True)


async def run(argv: list[str], directory: Path, *, shown: bool) -> str:
    """Run a command to its end; its standard output. `shown`: to be watched, progress bars and all."""
    out = None if shown else asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *tied(argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        cwd=directory,
        env=environment(),
    )
    try:
        stdout, stderr = await child.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()
        raise
    if child.returncode:
        name = next(name for name, module in MODULES.items() if module == argv[2])
        text = "" if shown else f": {(stdout + stderr).decode('utf-8', 'replace').strip()}"
        raise DemoFailed(f"{name} ended with exit code {child.returncode}{text}")
    return "" if shown else stdout.decode()


def transaction(nonce: int) -> dict[str, Any]:
    return {
        "type": 2,
        "chainId": 11155111,
        "nonce": nonce,
        "to": "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD",
        "value": hex(10**16),
        "gas": 21000,
        "maxFeePerGas": 30_000_000_000,
        "maxPriorityFeePerGas": 1_000_000_000,
        "data": "0x",
    }


def check(found: dict[str, Any], pair: tuple[int, int], digest: str, public_key: str) -> None:
    """What any library can say about a signature. Raises DemoFailed."""
    point = bytes.fromhex(public_key[2:])
    r, s = int(found["r"], 16), int(found["s"], 16)
    ours = keys.Signature(vrs=(found["v"], r, s))
    recovered = ours.recover_public_key_from_msg_hash(bytes.fromhex(digest[2:]))
    verifier = ecdsa.VerifyingKey.from_string(point, curve=ecdsa.SECP256k1)
    right = {
        "the account": found["account_id"] == ACCOUNT and found["path"] is None,
        "the signers": found["signers"] == list(pair),
        "the digest": found["digest"] == digest,
        "the public key": found["public_key"] == public_key,
        "a low s": 0 < s <= ORDER // 2,
        "ecdsa": _verifies(verifier, r, s, digest),
        "eth-keys' recovered key": recovered.to_compressed_bytes() == point,
        "eth-keys' address": recovered.to_checksum_address() == found["address"],
    }
    if "raw_transaction" in found:
        right["eth-account's sender"] = (
            Account.recover_transaction(found["raw_transaction"]) == found["address"]
        )
    wrong = [name for name, holds in right.items() if not holds]
    if wrong:
        raise DemoFailed(f"the signature of {pair} is wrong in {', '.join(wrong)}: {json.dumps(found)}")


def _verifies(verifier: ecdsa.VerifyingKey, r: int, s: int, digest: str) -> bool:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    with contextlib.suppress(ecdsa.BadSignatureError):
        return bool(verifier.verify_digest(signature, bytes.fromhex(digest[2:])))
    return False


async def demo(directory: Path) -> list[dict[str, Any]]:
    """The whole of it; the six objects."""
    base = free_block()
    begin = time.monotonic()
    setting = directory / "demo"
    await run(command("mpc-keygen", "init", str(setting), "--base-port", str(base)), directory, shown=True)
    services = [f"http://127.0.0.1:{base + 10 + 10 * index}" for index in range(3)]
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, *args: str) -> Daemon:
            daemon = await Daemon.start(name, command(*args), directory)
            stack.push_async_callback(daemon.stop)
            return daemon

        say(f"\nstarting a gateway and three sign-services on 127.0.0.1, ports from {base} on")
        gateway = await start("sign-gateway", "sign-gateway", str(setting / "sign-gateway.yaml"))
        nodes = [
            await start(
                f"sign-service {index}", "sign-service", str(setting / f"node-{index}" / "sign-service.yaml")
            )
            for index in range(3)
        ]
        await gateway.says("gRPC server on")
        for node in nodes:
            await node.says("Connected to gateway")
        say(f"$ mpc-keygen create {ACCOUNT} --target {services[0]}")
        try:
            await run(
                command("mpc-keygen", "create", ACCOUNT, "--target", services[0]), directory, shown=True
            )
            results = await _signatures(directory, services)
        except DemoFailed as error:
            for daemon in (gateway, *nodes):
                say("\n".join([f"--- {daemon.name}", *daemon.output[-TAIL:]]))
            raise error from None
    say(f"\nsix signatures, each checked by libraries that are not ours, in {time.monotonic() - begin:.0f} s")
    return results


async def _signatures(directory: Path, services: list[str]) -> list[dict[str, Any]]:
    asked = await run(
        command("mpc-client", "pubkey", ACCOUNT, "--json", "--service", services[0]), directory, shown=False
    )
    public_key = json.loads(asked)["public_key"]
    say()
    results = []
    for nonce, pair in enumerate(PAIRS):
        fields = transaction(nonce)
        unsigned = "0x" + TypedTransaction.from_dict(fields).hash().hex()
        (directory / "transaction.json").write_text(json.dumps(fields))
        random = "0x" + secrets.token_hex(32)
        for what, digest in (
            (["--transaction", "transaction.json"], unsigned),
            (["--digest", random], random),
        ):
            signers = ",".join(map(str, pair))
            args = ["sign", ACCOUNT, *what, "--signers", signers, "--service", services[pair[0]], "--json"]
            say(f"$ mpc-client {' '.join(args)}")
            begin = time.monotonic()
            found = json.loads(await run(command("mpc-client", *args), directory, shown=False))
            check(found, pair, digest, public_key)
            say(f"  {time.monotonic() - begin:.1f} s: signed by {signers}, good for {found['address']}")
            results.append(found)
    return results


@contextlib.contextmanager
def interruptible() -> Iterator[list[signal.Signals]]:
    """SIGINT, SIGTERM and SIGHUP cancel the current task, again and again harmlessly; the list then holds them."""
    received: list[signal.Signals] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        # Once: a second one must not cut the stopping of the processes short.
        if not received and task is not None:
            task.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    yield received


async def main() -> int:
    """The exit code."""
    directory = Path(tempfile.mkdtemp(prefix="wallet-mpc-demo-"))
    with interruptible() as received:
        try:
            results = await demo(directory)
        except asyncio.CancelledError:
            say("\ninterrupted: everything is stopped")
            return 128 + received[0] if received else 1
        except DemoFailed as error:
            say(f"\nthe demo failed: {error}")
            return 1
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    say(json.dumps(results))
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--with-parent" and sys.platform == "linux":
        # A `make` that is killed tells nobody.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    sys.exit(asyncio.run(main()))
