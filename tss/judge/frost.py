"""FROST (protocol.md 6.2): key generation, and signature shares under a package that their signer signed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from tss.cggmp24.completion import DONE
from tss.effects import Receive
from tss.encoding import Bytes, Integer, ListOf, PointOf, Text, Tuple, decode
from tss.errors import PeerFault
from tss.evidence import request_preimages
from tss.frost import dkg, sign
from tss.frost.nonces import Commitments
from tss.frost.terms import terms
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record
from tss.params import MAX_SIGNERS, Suite


def _keygen_rounds(session: Preimage) -> Sequence[Receive]:
    n, t = session.tail
    if not 2 <= t <= n == len(session.members):
        raise NotProven(f"a key generation of {t} of {n} by {len(session.members)} parties")
    return *dkg.rounds(session.suite), DONE


def _revealed(record: Record) -> None:
    """[commitment + reveal]."""
    _, t = record.session.tail
    dkg.check_reveal(record.ctx, t, record.accused, record.said(1), record.said(2))


def _told(record: Record) -> None:
    """[reveal + the signed share]."""
    reveal = record.said(2)
    if not reveal[0]:
        raise NotProven("the accused revealed no coefficients")
    told = record.told(3)
    for recipient, f in told.items():
        dkg.check_told(record.accused, recipient, reveal, f)
    record.need_told(told, 3)


KEYGEN: Final = Reader(
    _keygen_rounds,
    {
        "r2": Step(_revealed, "6.2", always((1, 2))),
        "r3": Step(_told, "6.2", always((2,), told=(3,))),
    },
)

PREPARE: Final = Reader(lambda _: (), {})
"""All that is said is inside the acceptances."""


def _partial(round_: int, record: Record) -> None:
    """[(z_j, pkg), what pkg is the hash of]: pkg stands for the accused's word on message and commitments."""
    if not record.session.tail:
        raise NotProven("the signed proposal is missing")
    _, X, _, S, points, digest, *_ = record.session.tail
    z, pkg = record.said(round_)
    message, commitments = _package(record, pkg)
    if hashlib.sha512(message).digest() != digest:
        raise NotProven("the accused signed a package with another message than the session's")
    signers = [party.index for party in record.ctx.parties]
    if not (signers == S == list(commitments) and len(points) == len(S)):
        raise NotProven("the session's id, or the package, does not say who signs")
    at = terms(X, message, commitments)
    j = record.accused
    sign.check_partial(at, j, points[S.index(j.index)], z, record.session.kind)


def _package(record: Record, pkg: bytes) -> tuple[bytes, Mapping[int, Commitments]]:
    """(message, {j: (D_j, E_j)}). Raises NotProven."""
    suite = record.session.suite
    for encoded in request_preimages(record.claim.preimages, pkg):
        try:
            proto, tag, sid, message, listed = decode(encoded, _package_schema(suite))
        except PeerFault:
            continue
        if (proto, tag, sid) == (suite.proto, sign.PKG_TAG, record.session.sid):
            return message, {int(j): (D, E) for j, D, E in listed}
    raise NotProven("what the accused's pkg is the hash of is missing")


def _package_schema(suite: Suite) -> Tuple:
    """[PROTO, "pkg", sid, msg, [[j, D_j, E_j]]]."""
    point = PointOf(suite.group, proper=True)
    listed = ListOf(Tuple(Integer(16), point, point), 2, MAX_SIGNERS)
    return Tuple(Text(64), Text(16), Bytes(32), Bytes(0, sign.MAX_MESSAGE_BYTES), listed)


def _z_rounds(round_: int, session: Preimage) -> Sequence[Receive]:
    """None while it is not known who signs: the proposal is missing."""
    return sign.rounds(session.suite, round_) if session.members else ()


FULL_SIGN: Final = Reader(
    partial(_z_rounds, sign.Z_ROUND),
    {"partial": Step(partial(_partial, sign.Z_ROUND), "6.2", always((sign.Z_ROUND,)))},
)

SIGN: Final = Reader(
    partial(_z_rounds, 0),
    {"partial": Step(partial(_partial, 0), "6.2", always((0,)))},
)
