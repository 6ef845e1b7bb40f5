"""The client library: `new_mpc_client` and the `MpcSigner` that it returns.

    async with await new_mpc_client(MpcConfig.load("client.yaml")) as signer:
        result = await signer.sign_tx("0x...", "account1")

With a share of its own in the settings the signer runs a participant of its own and asks that; without one it calls
sign-services. Either way it believes no answer that it can check.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Self

from client import ethereum
from client.ask import ask_both
from client.errors import RequestFailed
from client.local import LocalParticipant
from client.request import Answer, Request, checked, new_request, payload_of
from client.result import SignatureResult, hexadecimal
from client.service import Account, PublicKey, Stock, WalletService
from client.settings import MpcConfig
from kit.settings import Problem, SettingsError
from participant.files import SecretFileError
from participant.grpc_client import ServiceClient, Target
from participant.payloads import Digest, EthereumTx, Payload, address
from participant.payloads.strict_json import loads
from tss.errors import CallerError

MAX_TRANSACTION = 1 << 20
"""Characters of a transaction's JSON."""


async def new_mpc_client(config: MpcConfig, *, participant_command: Sequence[str] | None = None) -> MpcSigner:
    """A signer that is ready: our own participant runs, or a sign-service has answered.

    `participant_command` starts a sign-service where the installed one is not meant. Raises RequestFailed, SettingsError.
    """
    signer = MpcSigner(config, participant_command=participant_command)
    await signer.start()
    return signer


class MpcSigner:
    """Signs with the accounts of a committee. Belongs to the event loop that it was started in; close it, or use `async with`."""

    def __init__(self, config: MpcConfig, *, participant_command: Sequence[str] | None = None) -> None:
        """Reads no file and opens no connection; `start` does. See `new_mpc_client`."""
        self.config = config
        self._command = participant_command
        self._local: LocalParticipant | None = None
        self._service: WalletService | None = None
        self._gateway: ServiceClient | None = None
        self._own: ServiceClient | None = None
        self._accounts: Mapping[str, Account] = {}

    async def start(self) -> None:
        """See `new_mpc_client`. Idempotent."""
        if self._service is not None:
            return
        try:
            await self._connect()
            await self.refresh()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Ends all connections and stops our own participant. Idempotent."""
        clients = [client for client in (self._gateway, self._own) if client is not None]
        service, local = self._service, self._local
        self._gateway = self._own = self._service = self._local = None
        await asyncio.gather(*(client.close() for client in clients))
        if service is not None:
            await service.close()
        if local is not None:
            await local.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def targets(self) -> tuple[str, ...]:
        """The services that are asked."""
        return self._wallet.targets

    async def refresh(self) -> None:
        """Learn again which accounts there are. Raises RequestFailed."""
        self._accounts = {account.account_id: account for account in await self._wallet.accounts()}

    async def accounts(self) -> tuple[Account, ...]:
        """All accounts that we may use, sorted by id. Raises RequestFailed."""
        await self.refresh()
        return tuple(self._accounts.values())

    def get_public_key(self, account_id: str) -> str:
        """The account's root key: 33 bytes, compressed, in hexadecimal with 0x.

        Of the accounts that were there at start or at the last `refresh`. Raises RequestFailed KEY_SHARE_NOT_FOUND.
        """
        account = self._accounts.get(account_id)
        if account is None or not account.public_key:
            raise RequestFailed(f"Key share not found: account {account_id!r}", reason="KEY_SHARE_NOT_FOUND")
        return hexadecimal(account.public_key)

    async def public_key(self, account_id: str, path: str = "m") -> PublicKey:
        """The key at a path of soft indices, with its addresses. Raises RequestFailed."""
        request = new_request(account_id, Digest(bytes(32)), path=path)
        found = await self._wallet.public_key(account_id, request.path_text)
        known = self._accounts.get(account_id)
        if found.path is None and known is not None and found.public_key != known.public_key:
            raise RequestFailed(
                f"the service names another key for account {account_id!r} than before", reason="BAD_ANSWER"
            )
        return found

    async def stock(self, account_id: str | None = None) -> tuple[Stock, ...]:
        """The presignatures in the asked participant's memory, of one account or all. Raises RequestFailed."""
        return await self._wallet.stock(account_id)

    async def sign_tx(
        self,
        tx_hash: str | bytes,
        account_id: str,
        *,
        path: str = "m",
        signers: Sequence[int] | None = None,
        request_id: bytes | None = None,
    ) -> SignatureResult:
        """Sign a 32-byte digest, given as bytes or hexadecimal; it is not hashed again. Raises RequestFailed."""
        return await self.sign(account_id, digest=tx_hash, path=path, signers=signers, request_id=request_id)

    async def sign(
        self,
        account_id: str,
        *,
        digest: str | bytes | None = None,
        message: str | bytes | None = None,
        hash: str = "eip191",  # noqa: A002 - the name that it has in wallet.v1
        transaction: str | bytes | Mapping[str, Any] | None = None,
        typed_data: str | bytes | Mapping[str, Any] | None = None,
        psbt: str | bytes | None = None,
        solana: str | bytes | None = None,
        ssh_namespace: str | None = None,
        bip340: str | None = None,
        path: str = "m",
        signers: Sequence[int] | None = None,
        request_id: bytes | None = None,
    ) -> SignatureResult:
        """Sign one of: a 32-byte digest, a message, an Ethereum transaction, EIP-712 typed data, a PSBT, a Solana message.

        Args:
            account_id: whose key.
            digest: bytes or hexadecimal, signed as it is.
            message: bytes, or text as UTF-8; hashed as `hash` says.
            hash: eip191, sha256, sha256d or keccak256; none with an account of Ed25519, which signs the message itself.
            transaction: the JSON object or its text (legacy, EIP-2930, EIP-1559), or unsigned RLP as bytes or 0x-hex.
                What a JSON object leaves open is filled in from the settings (`ethereum`).
            typed_data: the JSON object or its text.
            psbt: bytes, base64 or hexadecimal; its inputs name their own paths.
            solana: the message of a Solana transaction, as bytes or base64.
            ssh_namespace: the message is signed as OpenSSH does in this namespace (such as "file"), whatever `hash` says.
            bip340: the digest, or the message's hash, is signed by BIP-340 and not by ECDSA: "key" by the key at the path, "taproot"
                by its Taproot output key without scripts, 64 hexadecimal digits by the one with this merkle root.
            path: of the key, such as "m/0/5".
            signers: who signs, counted from 0; None leaves it to the service.
            request_id: 16 bytes. The same id with the same content gives the same signature; None makes a fresh one.

        Raises:
            RequestFailed: see its reason. Nothing was signed, or the answer was not one to this request.
        """
        if transaction is not None:
            transaction = await self._completed(transaction, account_id, path)
        payload = payload_of(
            digest=digest,
            message=message,
            hash=hash,
            transaction=transaction,
            typed_data=typed_data,
            psbt=psbt,
            solana=solana,
            ssh_namespace=ssh_namespace,
            bip340=bip340,
        )
        return await self.sign_payload(account_id, payload, path=path, signers=signers, request_id=request_id)

    async def sign_payload(
        self,
        account_id: str,
        payload: Payload,
        *,
        path: str = "m",
        signers: Sequence[int] | None = None,
        request_id: bytes | None = None,
    ) -> SignatureResult:
        """Sign a payload that was read before. Raises RequestFailed; see `sign`."""
        request = new_request(
            account_id, payload, path=path, signers=signers, request_id=request_id or uuid.uuid4().bytes
        )
        account = await self._account(account_id)
        self._check_committee(account)
        await self._check_sender(request)
        answer = await self._answer(request, account)
        return checked(request, answer, account.public_key or None)

    @property
    def _wallet(self) -> WalletService:
        if self._service is None:
            raise RequestFailed("this client is closed", reason="NOT_READY", advice="make a new one")
        return self._service

    async def _connect(self) -> None:
        config = self.config
        try:
            credentials = config.service.credentials()
        except SecretFileError as error:
            raise SettingsError([Problem("settings", "service.token_file", str(error))]) from None
        targets: Sequence[str | Target] = config.targets
        if config.holds_share:
            self._local = LocalParticipant(config, self._command)
            own = await self._local.start()
            targets = [own]
            gateway = config.remote_services.sign_gateway
            if gateway is not None:
                self._own = ServiceClient(own, credentials)
                try:
                    self._gateway = ServiceClient(gateway.target, gateway.credentials())
                except SecretFileError as error:
                    key = "remote_services.sign_gateway.token_file"
                    raise SettingsError([Problem("settings", key, str(error))]) from None
        self._service = WalletService.at(
            targets,
            credentials,
            answer_seconds=config.service.answer_seconds,
            sign_seconds=config.service.timeout_seconds,
        )

    async def _account(self, account_id: str) -> Account:
        if account_id not in self._accounts:
            await self.refresh()
        account = self._accounts.get(account_id)
        if account is None:
            raise RequestFailed(f"Key share not found: account {account_id!r}", reason="KEY_SHARE_NOT_FOUND")
        return account

    def _check_committee(self, account: Account) -> None:
        wanted = self.config.mpc
        for name, expected, found in (
            ("threshold", wanted.threshold, account.threshold),
            ("total_participants", wanted.total_participants, account.parties),
        ):
            if expected is not None and found and found != expected:
                raise RequestFailed(
                    f"account {account.account_id!r} is {account.threshold} of {account.parties}, but mpc.{name} in the "
                    f"settings is {expected}",
                    reason="SETTINGS",
                )

    async def _check_sender(self, request: Request) -> None:
        """A transaction that names its sender is for that one's key: refused before anything is signed."""
        if not isinstance(request.payload, EthereumTx) or request.payload.sender is None:
            return
        key = await self.public_key(request.account_id, request.path_text)
        ours = address("ethereum", key.public_key)
        if ours.lower() != hexadecimal(request.payload.sender):
            raise RequestFailed(
                f"the transaction is from {hexadecimal(request.payload.sender)}, but {request.path_text} of account "
                f"{request.account_id!r} is {ours}",
                reason="INVALID_REQUEST",
                advice="leave `from` out, or take the account and path of that address",
            )

    async def _answer(self, request: Request, account: Account) -> Answer:
        plain = isinstance(request.payload, Digest) and not request.path and request.signers is None
        if plain and self._gateway is not None and self._own is not None:
            return await ask_both(
                self._own,
                self._gateway,
                request,
                account.public_key,
                seconds=self.config.service.timeout_seconds,
            )
        return await self._wallet.sign(request)

    async def _completed(
        self, transaction: str | bytes | Mapping[str, Any], account_id: str, path: str
    ) -> str | bytes | Mapping[str, Any]:
        """A JSON object with what it leaves open; anything else as it is."""
        settings = self.config.ethereum
        if settings.provider_url is None and settings.chain_id is None:
            return transaction
        fields = transaction if isinstance(transaction, Mapping) else _object(transaction)
        if fields is None:
            return transaction
        sender = ""
        if settings.provider_url is not None:
            sender = address("ethereum", (await self.public_key(account_id, path)).public_key)
        return await ethereum.complete(fields, settings, sender)


def _object(transaction: str | bytes) -> Mapping[str, Any] | None:
    """The JSON object in a text; None when it is something else. Raises RequestFailed for broken JSON."""
    text = transaction if isinstance(transaction, bytes) else transaction.encode()
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        found: dict[str, Any] = loads(text, "the transaction", MAX_TRANSACTION)
    except CallerError as error:
        raise RequestFailed(str(error), reason="INVALID_REQUEST") from None
    return found
