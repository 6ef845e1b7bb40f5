"""What the command says: results on standard output, everything else on standard error, JSON when asked for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console

from client.errors import EXIT_SETTINGS, RequestFailed
from client.result import SignatureResult, hexadecimal
from client.service import Account, PublicKey, Stock
from client.settings import NAME
from kit.settings import SettingsError


class Output:
    """How this run talks."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def signature(self, result: SignatureResult) -> None:
        """A signature, and the transaction that it completes."""
        self._answer(result.as_dict(), _signature_lines(result))

    def public_key(self, key: PublicKey) -> None:
        """A key and its addresses."""
        rows = [
            ("account", key.account_id),
            ("path", key.path or "m"),
            ("public key", hexadecimal(key.public_key)),
        ]
        self._answer(key.as_dict(), _rows([*rows, *sorted(key.addresses.items())]))

    def accounts(self, accounts: Sequence[Account]) -> None:
        """All accounts."""
        self._answer({"accounts": [account.as_dict() for account in accounts]}, _account_lines(accounts))

    def stock(self, entries: Sequence[Stock]) -> None:
        """Presignatures by account and signers."""
        self._answer({"stock": [entry.as_dict() for entry in entries]}, _stock_lines(entries))

    def say(self, text: str) -> None:
        """A remark beside the results."""
        if not self.as_json:
            click.echo(text, err=True)

    def failed(self, error: RequestFailed | SettingsError) -> int:
        """An error on standard error; the exit code."""
        if isinstance(error, RequestFailed):
            content, code = error.as_dict(), error.exit_code
        else:
            code = EXIT_SETTINGS
            content = {"error": {"reason": "SETTINGS", "exit_code": code, "text": str(error), "metadata": {}}}
        if self.as_json:
            click.echo(json.dumps(content, ensure_ascii=False), err=True)
        else:
            for line in str(error).splitlines():
                click.echo(f"{NAME}: {line}", err=True)
        return code

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Something turns on a terminal while the block runs."""
        console = Console(stderr=True)
        if self.as_json or not console.is_terminal:
            yield
            return
        with console.status(text):
            yield

    def _answer(self, content: Mapping[str, Any], lines: Iterable[str]) -> None:
        if self.as_json:
            click.echo(json.dumps(content, ensure_ascii=False))
            return
        for line in lines:
            click.echo(line)


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def _signature_lines(result: SignatureResult) -> list[str]:
    content = result.as_dict()
    signers = ", ".join(map(str, result.signers)) or "not told"
    rows = [("account", result.account_id), ("path", result.path or "m"), ("signers", signers)]
    if len(result.inputs) > 1:
        rows += [
            (f"input {one.input}", f"{one.path or 'm'} {hexadecimal(one.public_key)}")
            for one in result.inputs
        ]
    else:
        signature = ("signature",) if "signature" in content else ("r", "s", "v")
        rows += [
            (name.replace("_", " "), str(content[name])) for name in ("digest", *signature, "public_key")
        ]
    rows.append(("address", result.address))
    for name in ("psbt", "raw_transaction"):
        if name in content:
            rows.append((name.replace("_", " "), content[name]))
    return [*_rows(rows), *(result.ssh_signature or "").splitlines()]


def _account_lines(accounts: Sequence[Account]) -> list[str]:
    if not accounts:
        return ["no accounts: `mpc-keygen create ACCOUNT` makes one"]
    lines = []
    for account in accounts:
        address = account.addresses.get("ethereum") or next(iter(account.addresses.values()), "no key yet")
        shape = f"{account.threshold} of {account.parties}"
        lines.append(f"{account.account_id}  {account.status}  {shape}  index {account.index}  {address}")
    return lines


def _stock_lines(entries: Sequence[Stock]) -> list[str]:
    if not entries:
        return ["no presignatures"]
    return [
        f"{entry.account_id}  signers {', '.join(map(str, entry.signers))}  owner {entry.owner}  "
        f"{entry.fresh} fresh of {entry.target}, {entry.promised} promised{', for BIP-340' if entry.bip340 else ''}"
        for entry in entries
    ]
