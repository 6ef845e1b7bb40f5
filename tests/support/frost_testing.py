"""Committees for the tests of tss/frost: keys from a dealer, and runs of every protocol, on Ed25519 and secp256k1 themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cggmp24_testing import _run, dealt_key
from session_testing import Outcomes, Program, Round0, holder, identity_of
from tss_testing import SeededRng

from tss.envelope import Signed
from tss.envelope import sign as sign_body
from tss.frost import dkg, sign
from tss.frost.bip340 import Tweaks, signing_share
from tss.frost.nonces import NoncePair, Prepared, PreparedPublic, enclosed, enclosed_schema
from tss.params import CGGMP24_SECP256K1, FROST_ED25519, Suite
from tss.proposal import Proposal
from tss.records import KeyShare
from tss.setting import Enclosed

Programs = Mapping[int, Program]


@lru_cache(maxsize=64)
def frost_key(n: int, t: int, seed: object = 0, secret: int | None = None) -> dict[int, KeyShare]:
    """Shares {j: share} of one Ed25519 key, by a trusted dealer."""
    return dealt_key(FROST_ED25519, n, t, seed, secret, b"")


def run_dkg(
    n: int, t: int, seed: object = 0, *, programs: Programs | None = None, **options: Any
) -> Outcomes:
    """Key generation by n parties; `programs` replaces those of cheaters."""
    honest: Program = lambda ctx: dkg.dkg(ctx, t)  # noqa: E731 - one expression
    points = range(1, n + 1)
    return _run(
        dict.fromkeys(points, honest), programs, seed, FROST_ED25519, dkg.KIND, dkg.tail(n, t), options
    )


@dataclass(frozen=True)
class FrostSigners:
    """A signer set S of a dealt committee; the first of S proposes. With tweaks: for BIP-340, with a key of CGGMP24's."""

    S: tuple[int, ...] = (1, 2, 3)
    n: int = 4
    t: int = 3
    seed: object = 0
    tweaks: Tweaks | None = None
    secret: int | None = None
    shares: dict[int, KeyShare] = field(init=False, hash=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", self._dealt())

    def _dealt(self) -> dict[int, KeyShare]:
        if self.tweaks is None:
            return frost_key(self.n, self.t, self.seed, self.secret)
        dealt = dealt_key(CGGMP24_SECP256K1, self.n, self.t, self.seed, self.secret)
        return {j: signing_share(share, self.tweaks) for j, share in dealt.items()}

    @property
    def suite(self) -> Suite:
        return self.share.suite

    @property
    def listed(self) -> list[Any]:
        """What stands behind the tail of signing."""
        return [] if self.tweaks is None else self.tweaks.as_list()

    @property
    def share(self) -> KeyShare:
        return self.shares[self.S[0]]

    def pairs(self, seed: object = 0, count: int = 1) -> dict[int, list[NoncePair]]:
        """Fresh pairs of everybody."""
        rng = SeededRng(("pairs", self.S, seed))
        return {j: [NoncePair.draw(self.shares[j], rng) for _ in range(count)] for j in self.S}

    def prepare(
        self, seed: object = 0, *, batch: int = 1, programs: Programs | None = None, **options: Any
    ) -> Outcomes:
        """Exchange pairs ahead."""
        pairs = self.pairs(("ahead", seed), batch)
        owner = holder(self.S[0])
        tail = sign.prepare_tail(self.share, self.S, owner.index, batch)
        honest: dict[int, Program] = {
            j: lambda ctx, j=j: sign.prepare(ctx, self.shares[j], pairs[j], owner) for j in self.S
        }
        return self._run(honest, programs, seed, sign.PREPARE_KIND, tail, self._enclosing(pairs), options)

    def full_sign(
        self,
        message: bytes,
        seed: object = 0,
        *,
        pairs: Mapping[int, Sequence[NoncePair]] | None = None,
        programs: Programs | None = None,
        **options: Any,
    ) -> Outcomes:
        """Sign in two rounds."""
        drawn = pairs or self.pairs(("full", seed))
        honest: dict[int, Program] = {
            j: lambda ctx, j=j: sign.full_sign(ctx, self.shares[j], drawn[j][0], message) for j in self.S
        }
        tail = [*sign.full_tail(self.share, self.S, message), *self.listed]
        return self._run(honest, programs, seed, sign.FULL_KIND, tail, self._enclosing(drawn), options)

    def prepared(self, seed: object = 0) -> dict[int, Prepared]:
        """Pairs exchanged ahead, without the protocol."""
        pairs = self.pairs(("prepared", seed))
        rng = SeededRng(("prepared", self.S, seed))
        public = PreparedPublic(
            rng(32), rng(32), self.share.key_id, self.share.share_epoch, None, self.S[0], self.S,
            {j: pairs[j][0].commitments for j in self.S},
        )  # fmt: skip
        return {j: Prepared(j, public, pairs[j][0], self.suite) for j in self.S}

    def sign(
        self,
        message: bytes,
        seed: object = 0,
        *,
        prepared: Mapping[int, Prepared] | None = None,
        programs: Programs | None = None,
        **options: Any,
    ) -> Outcomes:
        """Sign with pairs exchanged ahead, under a signed proposal."""
        parts = prepared or self.prepared(seed)
        honest: dict[int, Program] = {
            j: lambda ctx, j=j: sign.sign(ctx, self.shares[j], parts[j], message) for j in self.S
        }
        tail = [*sign.tail(self.share, parts[self.S[0]].public, message), *self.listed]
        proposed = self.proposal(tail)
        options = {"ph": proposed.body.sid, "background": (proposed,), "round0": Round0.NONE, **options}
        return _run(honest, programs, seed, self.suite, sign.KIND, tail, self._stored(options))

    def proposal(self, tail: list[Any]) -> Signed:
        """The proposer's signed proposal."""
        owner = holder(self.S[0])
        proposal = Proposal(owner, b"c" * 32, "main", sign.KIND, b"r" * 16, tail, None, 1)
        return sign_body(proposal.body(self.suite), identity_of(owner).sign)

    def _stored(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"stored": [self.shares[j] for j in self.S], **options}

    def _run(
        self,
        honest: Programs,
        programs: Programs | None,
        seed: object,
        kind: str,
        tail: Any,
        enclosures: Mapping[int, Enclosed],
        options: dict[str, Any],
    ) -> Outcomes:
        options = {"round0": Round0.WITH_ROUND_1, "enclosed": enclosures, **options}
        return _run(honest, programs, seed, self.suite, kind, tail, self._stored(options))

    def _enclosing(self, pairs: Mapping[int, Iterable[NoncePair]]) -> dict[int, Enclosed]:
        schema = enclosed_schema(self.suite)
        return {j: Enclosed(enclosed(list(own)), schema) for j, own in pairs.items()}
