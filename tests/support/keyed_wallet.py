"""A wallet.v1.Wallet on a real socket whose one account has a private key that the test knows.

What it answers is right unless the test falsifies it: `falsify` changes the answer before it is sent.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from embit import ec, script
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status
from payload_testing import TestAccount

from kit.pb.wallet.v1 import common_pb2, wallet_pb2, wallet_pb2_grpc
from participant.payloads import (
    ED25519_KEY_BYTES,
    AccountKeys,
    Digest,
    EthereumTx,
    Message,
    PsbtTx,
    Signature,
    SolanaTx,
    SshSignature,
    TypedData,
    all_addresses,
    decode,
    finish,
    solana,
)
from tss.groups import ED25519
from tss.hd import format_path, parse_path

SECRET = bytes(range(1, 33))
HASHES = {1: "eip191", 2: "sha256", 3: "sha256d", 4: "keccak256", 5: "none"}


def payload_of(request):
    which = request.WhichOneof("payload")
    if which == "digest":
        return Digest(request.digest)
    if which == "message":
        return Message(request.message.data, HASHES[request.message.hash])
    if which == "ethereum_tx":
        return EthereumTx.parse(request.ethereum_tx.raw or request.ethereum_tx.json)
    if which == "typed_data":
        return TypedData.parse(request.typed_data)
    if which == "solana_message":
        return SolanaTx(request.solana_message)
    if which == "ssh":
        return SshSignature(request.ssh.namespace, request.ssh.data)
    return PsbtTx.parse(request.psbt)


class EdwardsKey:
    """The private side of an Ed25519 account, by OpenSSL."""

    def __init__(self, secret: bytes) -> None:
        self.secret = Ed25519PrivateKey.from_private_bytes(secret)
        self._keys = AccountKeys(ED25519.decode_point(self.secret.public_key().public_bytes_raw()), b"")
        self.public_key = self._keys.public_key

    def sign_all(self, decoded: Any) -> tuple[Signature, ...]:
        encoded = self.secret.sign(decoded.digests[0].message)
        return (Signature(int.from_bytes(encoded[:32], "big"), int.from_bytes(encoded[32:], "big"), 0),)


def addresses_of(public_key: bytes) -> dict[str, str]:
    if len(public_key) == ED25519_KEY_BYTES:
        return {"solana": solana.address(public_key)}
    return dict(all_addresses(public_key))


def curve_of(public_key: bytes) -> common_pb2.Curve:
    edwards = len(public_key) == ED25519_KEY_BYTES
    return common_pb2.CURVE_ED25519 if edwards else common_pb2.CURVE_SECP256K1


def refusal(code, reason, text, **metadata):
    """A gRPC status with ErrorInfo, as the services give it."""
    status = Status(code=code.value[0], message=text)
    status.details.add().Pack(ErrorInfo(reason=reason, domain="wallet-mpc", metadata=metadata))
    return rpc_status.to_status(status)


class KeyedWallet(wallet_pb2_grpc.WalletServicer):
    def __init__(self, key: Any = None) -> None:
        self.key = key or TestAccount(SECRET)
        self.requests: list[wallet_pb2.SignRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.falsify: Callable[[wallet_pb2.SignResponse], None] = lambda _: None
        self.refuse: grpc.Status | None = None
        self.account_ids = ["main", "m/44'/60'/0'/0/0"]
        self.threshold = 2

    def account(self, account_id):
        public_key = self.key.public_key(())
        return common_pb2.Account(
            account_id=account_id,
            curve=curve_of(public_key),
            threshold=self.threshold,
            parties=3,
            committee_id=bytes(32),
            key_id=bytes([1]) * 32,
            public_key=public_key,
            addresses=[common_pb2.Address(kind=k, text=t) for k, t in addresses_of(public_key).items()],
            state=common_pb2.ACCOUNT_STATE_ACTIVE,
            created_at=1_700_000_000,
        )

    async def _before(self, context) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.refuse is not None:
            await context.abort_with_status(self.refuse)

    async def ListAccounts(self, request, context):
        await self._before(context)
        # One a page: readers have to turn it.
        place = int(request.page_token or 0)
        following = str(place + 1) if place + 1 < len(self.account_ids) else ""
        return wallet_pb2.ListAccountsResponse(
            accounts=[self.account(name) for name in self.account_ids[place : place + 1]],
            next_page_token=following,
        )

    async def GetPublicKey(self, request, context):
        await self._before(context)
        path = parse_path(request.path)
        public_key = self.key.public_key(path)
        return wallet_pb2.GetPublicKeyResponse(
            account_id=request.account_id,
            path=format_path(path),
            curve=curve_of(public_key),
            public_key=public_key,
            addresses=[common_pb2.Address(kind=k, text=t) for k, t in addresses_of(public_key).items()],
        )

    async def Sign(self, request, context):
        await self._before(context)
        self.requests.append(request)
        payload = payload_of(request)
        path = parse_path(request.path or "m")
        decoded = decode(payload, self.key, path)
        signatures = self.key.sign_all(decoded)
        finished = finish(payload, decoded, signatures)
        answer = wallet_pb2.SignResponse(
            request_id=request.request_id,
            signers=list(request.signers) or [0, 2],
            raw_transaction=finished.raw_transaction or b"",
            psbt=finished.psbt or b"",
        )
        if isinstance(payload, PsbtTx):
            for place, (due, signature) in enumerate(zip(decoded.digests, signatures, strict=True)):
                answer.inputs.add(
                    input=place if due.input_index is None else due.input_index,
                    path=format_path(due.path),
                    public_key=due.public_key,
                    digest=due.digest,
                    r=signature.r.to_bytes(32, "big"),
                    s=signature.s.to_bytes(32, "big"),
                    v=signature.v,
                )
        else:
            due, signature = decoded.digests[0], signatures[0]
            answer.path = format_path(due.path)
            answer.public_key, answer.digest, answer.v = due.public_key, due.digest, signature.v
            answer.r, answer.s = signature.r.to_bytes(32, "big"), signature.s.to_bytes(32, "big")
        self.falsify(answer)
        return answer

    async def GetStock(self, request, context):
        await self._before(context)
        entry = common_pb2.StockEntry(
            signers=[0, 1], owner=0, fresh=3, promised=1, target=4, oldest_seconds=7
        )
        return wallet_pb2.GetStockResponse(
            stocks=[common_pb2.Stock(account_id=request.account_id or "main", entries=[entry])]
        )


@contextlib.asynccontextmanager
async def serving(wallet: KeyedWallet) -> AsyncIterator[str]:
    """The URL that it listens at."""
    server = aio.server()
    wallet_pb2_grpc.add_WalletServicer_to_server(wallet, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def payment(account: TestAccount) -> PSBT:
    """A PSBT with two inputs of ours, built and read by embit."""
    rng = random.Random(1)
    keys = [ec.PublicKey.parse(account.public_key(path)) for path in ((0, 1), (0, 2))]
    parents = [
        Transaction(
            2, [TransactionInput(rng.randbytes(32), 0)], [TransactionOutput(50_000, script.p2wpkh(key))], 0
        )
        for key in keys
    ]
    spent = [TransactionInput(parent.txid(), 0) for parent in parents]
    psbt = PSBT(Transaction(2, spent, [TransactionOutput(99_000, script.p2wpkh(keys[0]))], 0))
    for scope, parent, key, path in zip(psbt.inputs, parents, keys, ((0, 1), (0, 2)), strict=True):
        scope.non_witness_utxo = parent
        scope.witness_utxo = parent.vout[0]
        scope.bip32_derivations[key] = DerivationPath(account.fingerprint, list(path))
    return psbt
