"""What callers send, as calls of the node; what cannot be meant is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.callers import Caller
from participant.node import api
from participant.node.errors import BadDigestGiven, InvalidRequest
from participant.payloads import (
    NO_HASH,
    Bip340,
    Digest,
    EthereumTx,
    Message,
    Payload,
    PsbtTx,
    SolanaTx,
    SshSignature,
    TypedData,
)

REQUEST_ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
ID_BYTES: Final = 32
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000

HASHES: Final[Mapping[int, str]] = {
    wallet.MESSAGE_HASH_EIP191: "eip191",
    wallet.MESSAGE_HASH_SHA256: "sha256",
    wallet.MESSAGE_HASH_SHA256D: "sha256d",
    wallet.MESSAGE_HASH_KECCAK256: "keccak256",
    wallet.MESSAGE_HASH_NONE: NO_HASH,
}
_CURVES: Final[Mapping[int, str]] = {
    common.CURVE_UNSPECIFIED: "secp256k1",
    common.CURVE_SECP256K1: "secp256k1",
    common.CURVE_ED25519: "ed25519",
}

T = TypeVar("T")


def account_id(text: str) -> str:
    """An account id that is there. Raises InvalidRequest."""
    if not text:
        raise InvalidRequest("account_id is empty: name the account")
    return text


def request_id(data: bytes) -> bytes:
    """A request id. Raises InvalidRequest."""
    if len(data) != REQUEST_ID_BYTES:
        raise InvalidRequest(
            f"request_id has {len(data)} bytes, exactly {REQUEST_ID_BYTES} are due: make new ones at random for each request, "
            "and repeat them to get the same signature again"
        )
    return data


def full_id(data: bytes, what: str) -> bytes:
    """A 32-byte id. Raises InvalidRequest."""
    if len(data) != ID_BYTES:
        raise InvalidRequest(f"{what} has {len(data)} bytes, exactly {ID_BYTES} are due")
    return data


def some_id(data: bytes, what: str) -> bytes | None:
    """A 32-byte id, None when it is left out. Raises InvalidRequest."""
    return full_id(data, what) if data else None


def digest(data: bytes) -> bytes:
    """A prehash. Raises BadDigestGiven."""
    if len(data) != DIGEST_BYTES:
        raise BadDigestGiven(
            f"the digest has {len(data)} bytes, exactly {DIGEST_BYTES} are due: hash the message first"
        )
    return data


def curve(value: int) -> str:
    """A curve's name. Raises InvalidRequest."""
    if value not in _CURVES:
        raise InvalidRequest(f"curve {value} is unknown to this release")
    return _CURVES[value]


def bip340(request: wallet.SignRequest) -> Bip340 | None:
    """Whether and how BIP-340 is asked for. Raises InvalidRequest, PayloadError."""
    if not request.HasField("bip340"):
        return None
    if request.WhichOneof("payload") not in ("digest", "message"):
        raise InvalidRequest(
            "bip340 is for digest and message: leave it out, what else there is says how it is signed"
        )
    if request.bip340.merkle_root and not request.bip340.taproot:
        raise InvalidRequest("bip340.merkle_root is there without bip340.taproot")
    return Bip340(request.bip340.merkle_root if request.bip340.taproot else None)


def payload(request: wallet.SignRequest) -> Payload:
    """What is to be signed. Raises InvalidRequest, BadDigestGiven, PayloadError."""
    by = bip340(request)
    match request.WhichOneof("payload"):
        case "digest":
            return Digest(digest(request.digest), by)
        case "message":
            name = HASHES.get(request.message.hash)
            if name is None:
                raise InvalidRequest(
                    "message.hash is missing or unknown: say which hash the message goes through"
                )
            return Message(request.message.data, name, by)
        case "ethereum_tx":
            form = request.ethereum_tx.WhichOneof("form")
            if form is None:
                raise InvalidRequest("ethereum_tx is empty: give json or raw")
            return EthereumTx.parse(request.ethereum_tx.json if form == "json" else request.ethereum_tx.raw)
        case "typed_data":
            return TypedData.parse(request.typed_data)
        case "psbt":
            return PsbtTx.parse(request.psbt)
        case "solana_message":
            return SolanaTx(request.solana_message)
        case "ssh":
            return SshSignature(request.ssh.namespace, request.ssh.data)
        case _:
            raise InvalidRequest(
                "there is nothing to sign: give digest, message, ethereum_tx, typed_data, psbt, solana_message or ssh"
            )


def sign_call(request: wallet.SignRequest, caller: Caller) -> api.SignCall:
    """A request to sign. Raises InvalidRequest, BadDigestGiven, PayloadError."""
    return api.SignCall(
        request_id=request_id(request.request_id),
        account_id=account_id(request.account_id),
        payload=payload(request),
        path=request.path or "m",
        signers=tuple(request.signers) or None,
        caller=caller,
    )


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted: `size` items behind the one whose key is `after`."""

    size: int
    after: bytes | None

    @classmethod
    def of(cls, page_size: int, page_token: str) -> Page:
        """From the request's fields. Raises InvalidRequest for a token that this service has not made."""
        try:
            after = bytes.fromhex(page_token) if page_token else None
        except ValueError:
            raise InvalidRequest("page_token is not one that this service gave: begin without one") from None
        return cls(min(page_size, MAX_PAGE) or DEFAULT_PAGE, after)

    def cut(self, items: Sequence[tuple[bytes, T]], *, ordered: bool) -> tuple[list[T], str]:
        """The page's items and the token of the next one ("" on the last). `items` are (key, item) in their order.

        `ordered`: keys ascend, so that an item that is gone since costs nothing; else a page goes on behind the very item
        where the last one ended. Raises InvalidRequest when that is gone.
        """
        start = 0
        if self.after is not None:
            if ordered:
                start = sum(1 for key, _ in items if key <= self.after)
            else:
                keys = [key for key, _ in items]
                if self.after not in keys:
                    raise InvalidRequest("page_token is outdated: begin without one")
                start = keys.index(self.after) + 1
        page = items[start : start + self.size]
        more = start + self.size < len(items)
        return [item for _, item in page], page[-1][0].hex() if page and more else ""
