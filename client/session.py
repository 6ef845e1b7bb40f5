"""The interactive session: commands by line, from a terminal or from a script on standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from client.console import Output
from client.errors import RequestFailed
from client.settings import NAME
from client.signer import MpcSigner
from kit.version import version

PROMPT: Final = "mpc> "

_USAGE: Final = {
    "accounts": ("", "the accounts that there are"),
    "pubkey": ("ACCOUNT [PATH]", "a public key and its addresses"),
    "sign": ("ACCOUNT DIGEST [PATH]", "sign 32 bytes, given as 64 hexadecimal digits"),
    "message": ("ACCOUNT TEXT [PATH]", "sign a message as Ethereum wallets do (EIP-191)"),
    "tx": ("ACCOUNT FILE [PATH]", "sign an unsigned Ethereum transaction (JSON)"),
    "psbt": ("ACCOUNT FILE", "sign a Bitcoin PSBT"),
    "signers": ("[I,J]", "who signs from now on; nothing: the service chooses"),
    "stock": ("[ACCOUNT]", "the presignatures at hand"),
    "help": ("", "this list"),
    "quit": ("", "end the session"),
}


class Session:
    """Reads commands until `quit` or the end of input. A command that fails does not end it."""

    def __init__(self, signer: MpcSigner, output: Output) -> None:
        self._signer = signer
        self._output = output
        self._signers: tuple[int, ...] | None = None
        self._commands: dict[str, Callable[[list[str]], Awaitable[None]]] = {
            "accounts": self._accounts,
            "pubkey": self._pubkey,
            "sign": self._sign,
            "message": self._message,
            "tx": self._transaction,
            "psbt": self._psbt,
            "signers": self._choose,
            "stock": self._stock,
            "help": self._help,
        }

    async def run(self) -> None:
        """Until the end."""
        self._output.say(f"{NAME} {version()}, asking {', '.join(self._signer.targets)}")
        accounts = await self._signer.accounts()
        if not self._output.as_json:
            self._output.accounts(accounts)
        self._output.say("`help` lists the commands, `quit` ends")
        async with contextlib.aclosing(_lines()) as lines:
            async for line in lines:
                if not await self._line(line):
                    return

    async def _line(self, line: str) -> bool:
        """Do what one line says; False when that is to end."""
        try:
            words = shlex.split(line, comments=True)
            if not words:
                return True
            if words[0] in ("quit", "exit"):
                return False
            command = self._commands.get(words[0])
            if command is None:
                raise _misuse(f"unknown command {words[0]!r}: `help` lists those that there are")
            await command(words[1:])
        except ValueError as error:
            self._output.failed(_misuse(f"{error} in {line!r}"))
        except RequestFailed as error:
            self._output.failed(error)
        return True

    async def _accounts(self, words: list[str]) -> None:
        _expect("accounts", words, 0, 0)
        self._output.accounts(await self._signer.accounts())

    async def _pubkey(self, words: list[str]) -> None:
        _expect("pubkey", words, 1, 2)
        self._output.public_key(await self._signer.public_key(words[0], *words[1:]))

    async def _sign(self, words: list[str]) -> None:
        _expect("sign", words, 2, 3)
        await self._signed(words[0], digest=words[1], path=words[2] if words[2:] else "m")

    async def _message(self, words: list[str]) -> None:
        _expect("message", words, 2, 3)
        await self._signed(words[0], message=words[1], path=words[2] if words[2:] else "m")

    async def _transaction(self, words: list[str]) -> None:
        _expect("tx", words, 2, 3)
        await self._signed(words[0], transaction=_read(words[1]), path=words[2] if words[2:] else "m")

    async def _psbt(self, words: list[str]) -> None:
        _expect("psbt", words, 2, 2)
        await self._signed(words[0], psbt=_read(words[1]), path="m")

    async def _signed(
        self,
        account_id: str,
        *,
        path: str,
        digest: str | None = None,
        message: str | None = None,
        transaction: bytes | None = None,
        psbt: bytes | None = None,
    ) -> None:
        with self._output.waiting("signing"):
            result = await self._signer.sign(
                account_id,
                digest=digest,
                message=message,
                transaction=transaction,
                psbt=psbt,
                path=path,
                signers=self._signers,
            )
        self._output.signature(result)

    async def _choose(self, words: list[str]) -> None:
        _expect("signers", words, 0, 1)
        self._signers = parse_signers(words[0]) if words else None

    async def _stock(self, words: list[str]) -> None:
        _expect("stock", words, 0, 1)
        self._output.stock(await self._signer.stock(*words))

    async def _help(self, words: list[str]) -> None:
        _expect("help", words, 0, 0)
        width = max(len(f"{name} {args}") for name, (args, _) in _USAGE.items())
        for name, (args, text) in _USAGE.items():
            self._output.say(f"  {f'{name} {args}':<{width}}  {text}")


def parse_signers(text: str | None) -> tuple[int, ...] | None:
    """Indices from "0,2". Raises RequestFailed."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise _misuse(f"signers {text[:60]!r}: expected indices counted from 0, such as 0,2") from None


def _misuse(text: str) -> RequestFailed:
    return RequestFailed(text, reason="INVALID_REQUEST")


def _expect(name: str, words: Sequence[str], least: int, most: int) -> None:
    if not least <= len(words) <= most:
        raise _misuse(f"usage: {name} {_USAGE[name][0]}".rstrip())


def _read(name: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise _misuse(f"{name}: {error.strerror}") from None


async def _lines() -> AsyncGenerator[str, None]:
    """Standard input by line.

    Read by a thread of its own that nobody waits for at the end: a read from a terminal cannot be called off.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        # The loop is gone when the session ended while we read.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(queue.put_nowait, line)

    asked = threading.Semaphore(0)

    def read() -> None:
        for line in _typed() if sys.stdin.isatty() else _piped():
            put(line)
            asked.acquire()
        put(None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
        asked.release()


def _typed() -> Iterator[str]:
    # Without the readline library: cut off in this thread by Ctrl-C, it would leave the terminal without echo.
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print(file=sys.stderr)
            return


def _piped() -> Iterator[str]:
    # Not through sys.stdin: a thread that holds its lock while the interpreter ends would crash it.
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    if rest:
        yield rest.decode("utf-8", "replace")
