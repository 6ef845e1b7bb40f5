"""What an Ethereum transaction leaves open, filled in from the settings and from a JSON-RPC node."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

from client.errors import RequestFailed
from client.settings import EthereumSettings
from kit.tls import client_context
from participant.answer import ConnectionFailed
from participant.http import Http

MAX_ANSWER: Final = 1 << 20
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 30.0
_FEES: Final = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")

Transaction = dict[str, Any]
Ask = Callable[[str, list[Any]], Awaitable[Any]]
"""A method of the JSON-RPC node and its parameters; its result."""


async def complete(transaction: Mapping[str, Any], settings: EthereumSettings, sender: str) -> Transaction:
    """`transaction` with what it leaves open: the chain from the settings, nonce, gas and fees from the node.

    `sender` is the address that signs. What is written in the transaction stays as it is, and without a node nothing but
    the chain is filled in. Raises RequestFailed: another chain than ours, or no sense from the node.
    """
    found = dict(transaction)
    _check_chain(found, settings.chain_id)
    if settings.provider_url is None:
        return found
    async with _Node(settings.provider_url) as node:
        return await _fill(found, sender, node.ask)


def _check_chain(transaction: Transaction, expected: int | None) -> None:
    if expected is None:
        return
    named = transaction.setdefault("chainId", expected)
    try:
        chain = int(named, 0) if isinstance(named, str) else named
    except ValueError:
        # The parser of transactions says what is wrong with it.
        return
    if chain != expected:
        raise RequestFailed(
            f"the transaction is for chain {chain}, the settings say {expected}", reason="WRONG_CHAIN"
        )


async def _fill(transaction: Transaction, sender: str, ask: Ask) -> Transaction:
    if "chainId" not in transaction:
        transaction["chainId"] = _quantity(await ask("eth_chainId", []), "eth_chainId")
    if "nonce" not in transaction:
        transaction["nonce"] = _quantity(
            await ask("eth_getTransactionCount", [sender, "pending"]), "eth_getTransactionCount"
        )
    kind = transaction.get("type")
    if not any(fee in transaction for fee in _FEES) and kind in (None, 0, 1, 2, "0x0", "0x1", "0x2"):
        if kind in (None, 2, "0x2"):
            await _dynamic_fees(transaction, ask)
        else:
            transaction["gasPrice"] = _quantity(await ask("eth_gasPrice", []), "eth_gasPrice")
    if "gas" not in transaction and "gasLimit" not in transaction:
        transaction["gas"] = _quantity(
            await ask("eth_estimateGas", [_call_of(transaction, sender)]), "eth_estimateGas"
        )
    return transaction


async def _dynamic_fees(transaction: Transaction, ask: Ask) -> None:
    tip = _quantity(await ask("eth_maxPriorityFeePerGas", []), "eth_maxPriorityFeePerGas")
    block = await ask("eth_getBlockByNumber", ["latest", False])
    base = block.get("baseFeePerGas") if isinstance(block, dict) else None
    transaction["maxPriorityFeePerGas"] = tip
    # Enough while the base fee grows by its largest step for six blocks in a row.
    transaction["maxFeePerGas"] = 2 * _quantity(base, "eth_getBlockByNumber") + tip


def _call_of(transaction: Transaction, sender: str) -> dict[str, Any]:
    """The transaction as JSON-RPC takes it: quantities in hexadecimal."""
    taken = ("to", "value", "data", "input", "accessList")
    call = {"from": sender} | {name: transaction[name] for name in taken if name in transaction}
    return {name: hex(value) if isinstance(value, int) else value for name, value in call.items()}


def _quantity(value: Any, method: str) -> int:
    try:
        if isinstance(value, str) and value.startswith("0x"):
            return int(value, 16)
    except ValueError:
        pass
    raise _no_sense(f"{method} answered {str(value)[:80]!r} instead of a quantity")


def _no_sense(what: str) -> RequestFailed:
    return RequestFailed(
        f"the Ethereum node (ethereum.provider_url): {what}",
        reason="PROVIDER_FAILED",
        advice="write nonce, gas and fees into the transaction, or correct ethereum.provider_url",
    )


class _Node:
    """A JSON-RPC node over HTTP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        tls = client_context() if parts.scheme == "https" else None
        self._http = Http(
            f"{parts.scheme}://{parts.netloc}",
            tls,
            connect_timeout=_CONNECT_SECONDS,
            answer_timeout=_CONNECT_SECONDS + _SILENCE_SECONDS,
            silence_timeout=_SILENCE_SECONDS,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(self, method: str, params: list[Any]) -> Any:
        """The result of one method. Raises RequestFailed."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"Content-Type": "application/json"}
        found = bytearray()
        try:
            async with self._http.request("POST", self._path, headers=headers, body=body) as answer:
                async for chunk in answer.chunks:
                    found += chunk
                    if len(found) > MAX_ANSWER:
                        raise _no_sense(f"{method} answered more than {MAX_ANSWER} bytes")
        except ConnectionFailed as error:
            # The address may hold an access key in its path: it is not repeated.
            raise _no_sense(f"{method}: {error}") from None
        try:
            content = json.loads(found)
        except ValueError:
            raise _no_sense(f"{method} was answered with status {answer.status} and no JSON") from None
        if not isinstance(content, dict) or "result" not in content:
            told = content.get("error") if isinstance(content, dict) else None
            text = told.get("message") if isinstance(told, dict) else told
            raise _no_sense(f"{method} failed: {str(text)[:200]}")
        return content["result"]
