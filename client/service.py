"""wallet.v1.Wallet as a client calls it: requests and answers of ours to protobuf and back, one service after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grpc import aio

from client.errors import RequestFailed, of_call
from client.request import Answer, Request, Signed, parse
from client.result import hexadecimal, path_or_none
from kit.pb.wallet.v1 import common_pb2, wallet_pb2
from participant.grpc_client import (
    CONNECTION_REFUSED,
    TIMEOUT,
    TLS_FAILED,
    UNREACHABLE,
    CallFailed,
    Credentials,
    ServiceClient,
    Target,
)
from participant.payloads import (
    NO_HASH,
    Digest,
    EthereumTx,
    Message,
    Path,
    Payload,
    SolanaTx,
    SshSignature,
    TypedData,
)

PAGE: Final = 500

_NEXT: Final = frozenset({CONNECTION_REFUSED, UNREACHABLE, TLS_FAILED, "NOT_A_SIGNER"})
"""Why the next service is asked."""
_STATES: Final = {
    common_pb2.ACCOUNT_STATE_ACTIVE: "active",
    common_pb2.ACCOUNT_STATE_NEEDS_AUX: "needs-aux",
    common_pb2.ACCOUNT_STATE_FROZEN: "frozen",
    common_pb2.ACCOUNT_STATE_DAMAGED: "damaged",
    common_pb2.ACCOUNT_STATE_PENDING: "pending",
}
_CURVES: Final = {common_pb2.CURVE_SECP256K1: "secp256k1", common_pb2.CURVE_ED25519: "ed25519"}
_HASHES: Final = {
    "eip191": wallet_pb2.MESSAGE_HASH_EIP191,
    "sha256": wallet_pb2.MESSAGE_HASH_SHA256,
    "sha256d": wallet_pb2.MESSAGE_HASH_SHA256D,
    "keccak256": wallet_pb2.MESSAGE_HASH_KECCAK256,
    NO_HASH: wallet_pb2.MESSAGE_HASH_NONE,
}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Account:
    """An account as a service shows it."""

    account_id: str
    status: str
    """"active", "needs-aux", "frozen", "damaged" or "pending"; the last has no key yet."""
    curve: str
    threshold: int
    parties: int
    index: int
    """Of the participant that answered, counted from 0."""
    public_key: bytes
    addresses: dict[str, str]
    committee_id: bytes
    key_id: bytes
    created_at: int

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "account_id": self.account_id,
            "status": self.status,
            "curve": self.curve,
            "threshold": self.threshold,
            "parties": self.parties,
            "index": self.index,
            "public_key": hexadecimal(self.public_key) if self.public_key else None,
            "addresses": self.addresses,
            "committee_id": hexadecimal(self.committee_id),
            "key_id": hexadecimal(self.key_id) if self.key_id else None,
            "created_at": self.created_at,
        }


@dataclass(frozen=True)
class PublicKey:
    """A key and its addresses, text by kind."""

    account_id: str
    path: str | None
    curve: str
    public_key: bytes
    addresses: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "account_id": self.account_id,
            "path": self.path,
            "curve": self.curve,
            "public_key": hexadecimal(self.public_key),
            "addresses": self.addresses,
        }


@dataclass(frozen=True)
class Stock:
    """Presignatures that the service's node holds for one account, one signer set and one owner."""

    account_id: str
    signers: tuple[int, ...]
    owner: int
    fresh: int
    promised: int
    target: int
    oldest_seconds: int
    bip340: bool = False
    """Nonce pairs for BIP-340 signatures of a secp256k1 account."""

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "account_id": self.account_id,
            "signers": list(self.signers),
            "owner": self.owner,
            "fresh": self.fresh,
            "promised": self.promised,
            "target": self.target,
            "oldest_seconds": self.oldest_seconds,
            "bip340": self.bip340,
        }


class WalletService:
    """The Wallet services that a client knows, in the order in which they are asked until one is there to answer."""

    def __init__(
        self, clients: Sequence[ServiceClient], *, answer_seconds: float, sign_seconds: float
    ) -> None:
        """Seconds until an answer is given up: of calls that compute nothing, and of signatures."""
        self._clients = list(clients)
        self._answer_seconds = answer_seconds
        self._sign_seconds = sign_seconds

    @classmethod
    def at(
        cls,
        targets: Sequence[str | Target],
        credentials: Credentials,
        *,
        answer_seconds: float,
        sign_seconds: float,
    ) -> WalletService:
        """Connects at the first call. Raises SettingsError for unusable certificates."""
        clients = [ServiceClient(target, credentials) for target in targets]
        return cls(clients, answer_seconds=answer_seconds, sign_seconds=sign_seconds)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where they listen."""
        return tuple(str(client.target) for client in self._clients)

    async def accounts(self) -> tuple[Account, ...]:
        """All that the caller may use, sorted by id as bytes. Raises RequestFailed."""
        found: list[Account] = []
        token = ""
        while True:
            request = wallet_pb2.ListAccountsRequest(page_size=PAGE, page_token=token)
            page = await self._ask(
                lambda client, request=request: client.call(  # type: ignore[misc]
                    client.wallet.ListAccounts, request, timeout=self._answer_seconds
                )
            )
            found += map(_account, page.accounts)
            token = page.next_page_token
            if not token:
                return tuple(found)

    async def public_key(self, account_id: str, path: str = "m") -> PublicKey:
        """The key at `path`. Raises RequestFailed."""
        request = wallet_pb2.GetPublicKeyRequest(account_id=account_id, path=path)
        answer = await self._ask(
            lambda client: client.call(client.wallet.GetPublicKey, request, timeout=self._answer_seconds)
        )
        return PublicKey(
            account_id,
            path_or_none(answer.path),
            _CURVES.get(answer.curve, "unknown"),
            answer.public_key,
            {address.kind: address.text for address in answer.addresses},
        )

    async def sign(self, request: Request) -> Answer:
        """What the service answers, unchecked. Raises RequestFailed."""
        message = to_sign_request(request)
        answer = await self._ask(
            lambda client: client.call(client.wallet.Sign, message, timeout=self._sign_seconds), look_up=False
        )
        return of_sign_response(answer)

    async def stock(self, account_id: str | None = None) -> tuple[Stock, ...]:
        """The presignatures of one account or all. Raises RequestFailed."""
        request = wallet_pb2.GetStockRequest(account_id=account_id or "")
        answer = await self._ask(
            lambda client: client.call(client.wallet.GetStock, request, timeout=self._answer_seconds)
        )
        return tuple(
            Stock(
                stock.account_id,
                tuple(entry.signers),
                entry.owner,
                entry.fresh,
                entry.promised,
                entry.target,
                entry.oldest_seconds,
                entry.bip340,
            )
            for stock in answer.stocks
            for entry in stock.entries
        )

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*(client.close() for client in self._clients))

    async def _ask(
        self, call: Callable[[ServiceClient], Awaitable[Result]], *, look_up: bool = True
    ) -> Result:
        """Of the first that answers, and may sign. A request id makes a second try of the same service harmless."""
        failure: CallFailed | None = None
        for client in tuple(self._clients):
            try:
                answer = await call(client)
            except CallFailed as error:
                # The first one's failure is told: it is the one that should have answered.
                failure = failure or error
                silent = look_up and error.reason == TIMEOUT and not error.from_service
                if error.reason not in _NEXT and not silent:
                    raise of_call(error) from None
            except aio.UsageError:
                raise RequestFailed(
                    "this client is closed", reason="NOT_READY", advice="make a new one"
                ) from None
            else:
                # Who answers is asked first from now on.
                self._clients.remove(client)
                self._clients.insert(0, client)
                return answer
        if failure is None:
            raise RequestFailed("no service is known to ask", reason="SETTINGS", advice="set service.targets")
        raise of_call(failure) from None


def to_sign_request(request: Request) -> wallet_pb2.SignRequest:
    """The request on the wire."""
    message = wallet_pb2.SignRequest(
        request_id=request.request_id,
        account_id=request.account_id,
        path=request.path_text,
        signers=request.signers or (),
    )
    _put_payload(message, request.payload)
    return message


def _put_payload(message: wallet_pb2.SignRequest, payload: Payload) -> None:
    if isinstance(payload, Digest | Message) and payload.bip340 is not None:
        # It says something by being there, also when all its fields are empty.
        message.bip340.SetInParent()
        message.bip340.taproot = payload.bip340.taproot is not None
        message.bip340.merkle_root = payload.bip340.taproot or b""
    if isinstance(payload, Digest):
        message.digest = payload.digest
    elif isinstance(payload, Message):
        message.message.data = payload.message
        message.message.hash = _HASHES[payload.hash]
    elif isinstance(payload, EthereumTx):
        message.ethereum_tx.raw = payload.unsigned
    elif isinstance(payload, TypedData):
        message.typed_data = payload.json.decode()
    elif isinstance(payload, SolanaTx):
        message.solana_message = payload.message
    elif isinstance(payload, SshSignature):
        message.ssh.data, message.ssh.namespace = payload.message, payload.namespace
    else:
        message.psbt = payload.psbt


def of_sign_response(answer: wallet_pb2.SignResponse) -> Answer:
    """The answer as it came. Raises RequestFailed for paths that are none."""
    if answer.inputs:
        signed = tuple(
            Signed(
                _path(one.path),
                one.digest,
                one.public_key,
                int.from_bytes(one.r, "big"),
                int.from_bytes(one.s, "big"),
                one.v,
                one.input,
            )
            for one in answer.inputs
        )
    else:
        signed = (
            Signed(
                _path(answer.path),
                answer.digest,
                answer.public_key,
                int.from_bytes(answer.r, "big"),
                int.from_bytes(answer.s, "big"),
                answer.v,
            ),
        )
    return Answer(
        signed,
        tuple(answer.signers),
        answer.raw_transaction or None,
        answer.psbt or None,
        answer.from_stock,
    )


def _path(text: str) -> Path:
    try:
        return parse(text)
    except RequestFailed:
        raise RequestFailed(f"the service answered with the path {text!r}", reason="BAD_ANSWER") from None


def _account(account: common_pb2.Account) -> Account:
    return Account(
        account_id=account.account_id,
        status=_STATES.get(account.state, "unknown"),
        curve=_CURVES.get(account.curve, "unknown"),
        threshold=account.threshold,
        parties=account.parties,
        index=account.index,
        public_key=account.public_key,
        addresses={address.kind: address.text for address in account.addresses},
        committee_id=account.committee_id,
        key_id=account.key_id,
        created_at=account.created_at,
    )
