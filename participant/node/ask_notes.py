"""What nodes that were asked by one caller, all with the same request, say to each other (wallet-mpc-wire: gRPC).

Both are broadcasts of kind `ask` in the room `signing_{tx_id}`; `Hc("ask", the request's fields)` stands where others have
the sid. Round 0 says "I was asked this", round 1 "this is the signature". Who asked is not said: each node has decided
that for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from participant.node.api import AskCall, Chain, SignedDigest
from participant.store import AccountRecord
from tss import ecdsa
from tss.encoding import Bytes, Integer, ListOf, Optional, Text, Tuple, Value, decode, encode
from tss.errors import ProtocolError, SchemaViolation
from tss.groups import Point
from tss.hd import format_path
from tss.params import MAX_PARTIES
from tss.proposal import MAX_ACCOUNT_ID, REQUEST_ID_BYTES
from tss.transcript import hash_commit

ASKED: Final = 0
FINISHED: Final = 1
"""The rounds of the two notes."""

DIGEST_BYTES: Final = 32
TX_ID_LIMIT: Final = 1 << 31

CHAINS: Final = {Chain.ETHEREUM: 0, Chain.BITCOIN: 1}
"""Numbers of the enum `mpc.Chain`."""

_ASKED: Final = Tuple(
    Integer(32, signed=True), Bytes(REQUEST_ID_BYTES), Integer(8), Bytes(DIGEST_BYTES), Text(MAX_ACCOUNT_ID), Bytes(32),
    Optional(Bytes(32)),
)  # fmt: skip
_FINISHED: Final = Tuple(
    Integer(256), Integer(256), Integer(2), ListOf(Integer(16), 1, MAX_PARTIES), Integer(1), Bytes(0, 32)
)


@dataclass(frozen=True)
class AskNote:
    """The fields of a SignMessage, and the pair with which the sender would sign."""

    tx_id: int
    execution_id: bytes
    chain: int
    data: bytes
    account_id: str
    share_epoch: bytes
    aux_id: bytes | None

    @classmethod
    def of(cls, call: AskCall, record: AccountRecord) -> Self:
        """The note of a node that was asked `call`."""
        return cls(
            *(call.tx_id, call.execution_id, CHAINS[call.chain], call.data, call.account_id),
            *(record.share_epoch, record.aux_id),
        )

    def scope(self, proto: str) -> bytes:
        """Hc("ask", the SignMessage's fields), 32 bytes."""
        return hash_commit(proto, "ask", *self._fields())

    def _fields(self) -> list[Value]:
        return [self.tx_id, self.execution_id, self.chain, self.data, self.account_id]

    def encode(self) -> bytes:
        """The payload."""
        return encode([*self._fields(), self.share_epoch, self.aux_id])

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises SchemaViolation."""
        tx_id, execution_id, chain, data, account_id, share_epoch, aux_id = decode(payload, _ASKED)
        return cls(int(tx_id), execution_id, int(chain), data, account_id, share_epoch, aux_id)

    def difference(self, other: AskNote) -> str:
        """What another node was asked otherwise; empty when nothing."""
        names = {
            "tx_id": self.tx_id == other.tx_id,
            "chain": self.chain == other.chain,
            "data": self.data == other.data,
            "account_id": self.account_id == other.account_id,
        }
        differing = [name for name, equal in names.items() if not equal]
        if differing:
            return f"was asked for another {' and '.join(differing)} under this execution id"
        if (self.share_epoch, self.aux_id) != (other.share_epoch, other.aux_id):
            return "holds the account in another epoch or with other auxiliary information"
        return ""


def encode_finished(signed: SignedDigest) -> bytes:
    """The payload of a finished signature."""
    points = [index + 1 for index in signed.signers]
    return encode([signed.r, signed.s, signed.v, points, int(signed.from_stock), signed.session_id])


def decode_finished(payload: bytes, X: Point, digest: bytes) -> SignedDigest:
    """Read a finished signature of `digest` under the root key X and verify it. Raises SchemaViolation."""
    r, s, v, points, from_stock, session_id = decode(payload, _FINISHED)
    r, s, v, points = int(r), int(s), int(v), [int(point) for point in points]
    if min(points) < 1:
        raise SchemaViolation("a signer at evaluation point 0")
    try:
        good = ecdsa.verify(X, digest, r, s) and ecdsa.recover(digest, r, s, v, X.group) == X
    except ProtocolError:
        good = False
    if not good:
        raise SchemaViolation("a signature that does not verify")
    return SignedDigest(
        digest=digest,
        path=format_path(()),
        public_key=X.to_bytes(),
        r=r,
        s=s,
        v=v,
        signers=tuple(point - 1 for point in points),
        from_stock=bool(from_stock),
        session_id=session_id,
    )
