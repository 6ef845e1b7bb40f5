"""Runs with one lie each, a representative for every step that a judge repeats; and evidence made different by hand.

case = CASES["keygen.r2.share"]
case.verdict(case.evidence)                      # guilty
case.verdict(case.without(0))                    # a message less
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from cggmp24_cheating import changed, reports
from cggmp24_testing import Signers, dealt_key, run_aux, run_keygen, run_refresh
from presign_cheating import AG_W_Y, EE_Z2, PSI, PSI3, cheating, says3, tells1, tells2
from session_testing import Anything, Identity, Outcomes, Tamper, echoes, encode_any, identity_of, says, tells
from tss_testing import TINY

from tss.cggmp24 import identify
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.encoding import decode, encode
from tss.envelope import Body, PartyId, decode_body
from tss.errors import PeerFault
from tss.evidence import Claim, read_claim
from tss.groups import Point
from tss.judge import Verdict, judge

SUITES = {TINY.proto: TINY}
SIGNERS, CHEATER = Signers((1, 2, 3), 4), 2
Q, G = TINY.group.q, TINY.group.G


class LiesInDelta(Presigning):
    """Sends delta_i + 1."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % Q, *rest]


class LiesInChi(Presigning):
    """Sends S_i + G."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, psi = super().open_masks(item, received)
        item.S_j[self.ctx.me] = S + G
        return [delta, Delta, S + G, psi]


def says5(place: int, new: Any) -> Any:
    return says(identify.ROUND, lambda value: changed(value, place, new))


def z_of_aff_g_star(proofs: list[Any]) -> list[Any]:
    """The first response of the first proof, one more."""
    return [changed(proofs[0], 1, lambda r: [changed(r[0], 0, lambda z: z + 1), *r[1:]]), *proofs[1:]]


@dataclass(frozen=True)
class Case:
    """One lie of party 2, and the evidence that `by` holds about it."""

    check: str
    """The whole id begins with this."""
    section: str
    run: Callable[..., Outcomes]
    by: int | PartyId = 1
    spare: frozenset[str] = frozenset()
    """Messages that only another check of the same round would need: "sender kind round" with "to recipient"."""

    @cached_property
    def outcomes(self) -> Outcomes:
        return self.run(seed=("judged", self.check), drop=reports)

    @cached_property
    def evidence(self) -> bytes:
        error = self.outcomes[self.by].error
        assert isinstance(error, PeerFault), error
        assert error.check.startswith(self.check), error
        assert error.evidence is not None
        return error.evidence

    @cached_property
    def claim(self) -> Claim:
        return read_claim(self.evidence)

    @property
    def bodies(self) -> list[Body]:
        return [decode_body(encoded) for encoded, _ in self.claim.messages]

    def verdict(self, claim: Claim | bytes, **options: Any) -> Verdict:
        written = claim if isinstance(claim, bytes) else write(claim)
        return judge(written, options.pop("identities", self.identities), options.pop("suites", SUITES))

    @property
    def identities(self) -> Mapping[PartyId, bytes]:
        return {member.party: member.identity for member in self.outcomes.committee.members}

    def without(self, place: int) -> Claim:
        messages = self.claim.messages
        return replace(self.claim, messages=messages[:place] + messages[place + 1 :])

    def instead(self, place: int, body: Body, identity: Identity | None = None) -> Claim:
        """Another message in the place of one, signed by its sender."""
        signer = identity or identity_of(body.sender)
        encoded = body.encode()
        messages = list(self.claim.messages)
        messages[place] = (encoded, signer.sign(encoded))
        return replace(self.claim, messages=tuple(messages))

    def preimages(self, change: Callable[[list[Any]], list[Any]]) -> Claim:
        """With another session's preimage."""
        (own,) = self.claim.preimages
        return replace(self.claim, preimages=(encode(change(decode(own, Anything(TINY.group)))),))


def write(claim: Claim) -> bytes:
    shown = [[encoded, signature] for encoded, signature in claim.messages]
    return encode(
        ["evidence/v1", claim.proto, list(claim.preimages), claim.accused.as_list(), claim.check, shown]
    )


def another_version(body: Body) -> Body:
    """The same message with another last value in it, as canonical as the first; of an identification, another opening."""
    value = decode(body.payload, Anything(TINY.group))
    if body.round == identify.ROUND:
        echo, (k, opened, *proofs) = value
        return replace(body, payload=encode_any([echo, [k, _other(opened), *proofs]]))
    return replace(body, payload=encode_any(_other(value)))


def _other(value: Any) -> Any:
    if isinstance(value, list):
        return [*value[:-1], _other(value[-1])]
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, Point):
        return value + G
    return b"x" if value is None else value + 1


def place_of(body: Body) -> str:
    to = "" if body.to is None else f" to {body.to.index}"
    return f"{body.sender.index} {body.kind} {body.round}{to}"


def _keygen(*tamper: Tamper) -> Callable[..., Outcomes]:
    return partial(run_keygen, 3, 2, tamper={CHEATER: list(tamper)})


def _aux(*tamper: Tamper) -> Callable[..., Outcomes]:
    return partial(run_aux, 3, tamper={CHEATER: list(tamper)})


def _refresh(*tamper: Tamper) -> Callable[..., Outcomes]:
    keys = [dealt_key(TINY, 3, 2), dealt_key(TINY, 3, 3)]
    return partial(run_refresh, keys, tamper={CHEATER: list(tamper)})


def _presign(*tamper: Tamper) -> Callable[..., Outcomes]:
    return partial(SIGNERS.presign, tamper={CHEATER: list(tamper)})


def _failed(kind: type[Presigning], *tamper: Tamper) -> Callable[..., Outcomes]:
    return partial(SIGNERS.presign, tamper={CHEATER: list(tamper)}, programs={CHEATER: cheating(kind)})


def _in_psi(psi: list[Any]) -> list[Any]:
    return changed(psi, AG_W_Y, lambda w: 2 * w % int(SIGNERS.aux[1].parties[2].N))


def _cases() -> Iterator[Case]:
    """Every check that a judge repeats in another way than the others."""
    yield Case(
        "keygen.r2.decommit", "1", _keygen(says(1, lambda _: b"V" * 32)), spare=frozenset({"2 msg 2 to 1"})
    )
    yield Case("keygen.r2.share", "1", _keygen(tells(2, lambda v: [(v[0] + 1) % Q, *v[1:]], to=1)))
    yield Case("keygen.r2.chain code", "1", _keygen(tells(2, lambda v: [v[0], b"c" * 32, v[2]], to=1)))
    yield Case(
        "keygen.r2.schema", "0.8", _keygen(tells(2, lambda v: v[:-1], to=1)), spare=frozenset({"2 msg 2"})
    )
    yield Case(
        "keygen.r2.echo", "0.8", _keygen(echoes(3, lambda e: [b"E" * 32, e[1]])),
        spare=frozenset({"1 msg 2", "3 msg 2", "2 done 15"}),
    )  # fmt: skip
    yield Case("keygen.r3.sch", "1", _keygen(says(3, lambda v: [v[0], (v[1] + 1) % Q])))
    yield Case(VERSIONS, "0.8", _keygen(says(1, lambda _: b"V" * 32, only_to=3)))
    yield Case("aux.r2.decommit", "2.1", _aux(says(1, lambda _: b"V" * 32)))
    yield Case("aux.r3.mod", "2.1", _aux(says(3, lambda v: [0, v[1]])), spare=frozenset({"2 msg 3 to 1"}))
    yield Case("aux.r3.fac", "2.1", _aux(tells(3, lambda v: changed(v, 0, 0), to=1)))
    yield Case(
        "refresh.r2.decommit",
        "2.2",
        _refresh(says(1, lambda _: b"V" * 32)),
        spare=frozenset({"2 msg 2 to 1"}),
    )
    yield Case("refresh.r2.share", "2.2", _refresh(tells(2, lambda d: [(d[0] + 1) % Q, d[1]], to=1)))
    z_of_second = says(3, lambda v: [v[0], [v[1][0], changed(v[1][1], 1, lambda z: (z + 1) % Q)]])
    yield Case("refresh.r3.sch", "2.2", _refresh(z_of_second), spare=frozenset({"2 msg 3 to 1"}))
    yield Case(
        "refresh.r3.mod", "2.2", _refresh(says(3, lambda v: [[0, v[0][1]], v[1]])),
        spare=frozenset({"2 msg 3 to 1"}),
    )  # fmt: skip
    yield Case("refresh.r3.fac", "2.2", _refresh(tells(3, lambda v: changed(v, 0, 0), to=1)))
    yield Case("presign.r1.item0.k", "3.2", _presign(tells1(0, EE_Z2, 0)))
    yield Case("presign.r2.item0.gamma", "3.2", _presign(tells2(PSI, _in_psi)), spare=frozenset({"3 msg 1"}))
    z_plus_1 = says3(PSI3, lambda psi: changed(psi, 3, lambda z: (z + 1) % Q))
    yield Case("presign.r3.item0.elog", "3.2", _presign(z_plus_1))
    opens = says5(1, lambda o: [changed(o[0], 0, lambda C: C + 1), *o[1:]])
    for name, kind in (("delta", LiesInDelta), ("chi", LiesInChi)):
        place = f"presign.abort-{name}.item0"
        yield Case(f"{place}.open", "4.2", _failed(kind, opens))
        yield Case(f"{place}.aff-g*", "4.2", _failed(kind, says5(2, z_of_aff_g_star)))
        yield Case(f"{place}.dec", "4.2", _failed(kind), spare=frozenset({"2 echo 5"}))
    yield Case("presign.abort-delta.item0.item", "4.2", _failed(LiesInDelta, says5(0, 1)))


VERSIONS = "keygen.r1.msg"
"""Two signed versions of a message: they need no session to be two."""

CASES: Mapping[str, Case] = {case.check: case for case in _cases()}
