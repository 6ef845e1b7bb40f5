"""What a party keeps of a finished run: its key share and its auxiliary data (protocol.md 1, 2.1).

`to_bytes` writes the canonical encoding, which holds secrets and is for a sealed store only. `from_bytes` is as strict
as the wire's decoder, and `check` recomputes everything that the public part says about the secret part; both raise
ShareCorrupt and nothing else. Parties are named by evaluation point I_j (party index + 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

import gmpy2
from gmpy2 import mpz

from tss import encoding as enc
from tss.errors import PeerFault, ProtocolError, ShareCorrupt
from tss.groups import Point
from tss.paillier import PaillierSecret
from tss.params import MAX_PARTIES, Suite
from tss.ring_pedersen import RingPedersenSecret
from tss.transcript import hash_commit
from tss.vss import lagrange

KEY_SHARE_TAG: Final = "key-share/1"
AUX_SET_TAG: Final = "aux-set/1"
_TEXT: Final = enc.Text(64)
_ID: Final = enc.Bytes(32)
_COUNT: Final = enc.Integer(8)


def _need(holds: bool, what: str) -> None:  # noqa: FBT001 - an assertion reads best as one
    if not holds:
        raise ShareCorrupt(what)


def _decode(data: bytes, schema: enc.Schema, suite: Suite, tag: str, what: str) -> list[enc.Value]:
    """The record's fields after tag, PROTO and level, which are compared with `suite`."""
    try:
        values: list[enc.Value] = enc.decode(data, schema)
    except PeerFault as error:
        raise ShareCorrupt(f"{what} is damaged: {error.what}") from None
    found_tag, proto, level = values[:3]
    _need(found_tag == tag, f"{what} is of kind {found_tag!r}, not {tag!r}")
    _need(proto == suite.proto, f"{what} is of suite {proto!r}, not {suite.proto!r}")
    _need(level == suite.level.as_list(), f"{what} was made with other security parameters")
    return values[3:]


def _header(suite: Suite, tag: str) -> list[enc.Value]:
    return [tag, suite.proto, suite.level.as_list()]


_HEADER_SCHEMA: Final = (_TEXT, _TEXT, enc.ListOf(enc.Integer(32), 5))


def chain_code_hash(suite: Suite, X: Point, chain_code: bytes) -> bytes:
    """Hc("c-hash", X, c), 32 bytes (protocol.md 0.7)."""
    return hash_commit(suite.proto, "c-hash", X, chain_code)


@dataclass(frozen=True)
class KeyShare:
    """One party's share of one key: the output (X, c, rid, t, {I_j}, {X_j}, x_i) of protocol.md 1, without rid."""

    suite: Suite
    key_id: bytes
    """32 bytes; unchanged by refresh and recovery."""
    share_epoch: bytes
    """32 bytes; new with every run that makes new shares."""
    t: int
    """Number of signers needed."""
    me: int
    """This party's evaluation point."""
    X: Point
    """The public key."""
    public_shares: dict[int, Point]
    """X_j = x_j * G by evaluation point I_j, own one included."""
    chain_code: bytes = field(repr=False)
    """32 bytes, of the suites without public derivation none; not public (protocol.md 1), known to all holders."""
    x: int = field(repr=False)
    """The secret share, in [0, q)."""

    @property
    def n(self) -> int:
        """Number of parties."""
        return len(self.public_shares)

    @property
    def indices(self) -> list[int]:
        """All evaluation points, ascending."""
        return sorted(self.public_shares)

    @property
    def c_hash(self) -> bytes | None:
        """Hc("c-hash", X, c), which names the chain code without showing it (protocol.md 0.7); None without one."""
        return chain_code_hash(self.suite, self.X, self.chain_code) if self.chain_code else None

    def to_bytes(self) -> bytes:
        """ENC of the record, the secret included: seal it."""
        shares = [[index, self.public_shares[index]] for index in self.indices]
        return enc.encode(
            [
                *_header(self.suite, KEY_SHARE_TAG),
                self.key_id, self.share_epoch, self.t, self.me, self.X, shares, self.chain_code, self.x,
            ]
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, suite: Suite, data: bytes) -> Self:
        """Decode and `check`. Raises ShareCorrupt."""
        point = enc.PointOf(suite.group)
        scalar = enc.Integer(suite.group.q.bit_length(), below=suite.group.q)
        schema = enc.Tuple(
            *_HEADER_SCHEMA,
            _ID, _ID, _COUNT, scalar, point, enc.ListOf(enc.Tuple(scalar, point), 2, MAX_PARTIES),
            enc.Bytes(suite.chain_code_bytes), scalar,
        )  # fmt: skip
        key_id, epoch, t, me, X, shares, chain_code, x = _decode(
            data, schema, suite, KEY_SHARE_TAG, "key share"
        )
        public = dict(shares)
        _need(
            [index for index, _ in shares] == sorted(public),
            "key share is damaged: indices repeat or are unsorted",
        )
        share = cls(suite, key_id, epoch, t, me, X, public, chain_code, x)
        share.check()
        return share

    def check(self) -> None:
        """Everything that the record says about itself (security.md C3, E4). Raises ShareCorrupt.

        The public shares must lie on one polynomial of degree t-1 whose value at 0 is X: the first t of them
        determine it, and 0 and every further index are compared with it, so any t of them give X. Its degree must not be
        lower, or fewer than t parties could sign.
        """
        group = self.suite.group
        _need(
            len(self.key_id) == 32 and len(self.share_epoch) == 32, "key_id and share_epoch are 32 bytes each"
        )
        due = self.suite.chain_code_bytes
        _need(len(self.chain_code) == due, f"the chain code is {due} bytes")
        _need(
            2 <= self.t <= self.n <= MAX_PARTIES,
            f"threshold {self.t} of {self.n} is not 2 <= t <= n <= {MAX_PARTIES}",
        )
        _need(
            all(0 < index < group.q for index in self.public_shares),
            "an evaluation point is zero or not below q",
        )
        _need(self.me in self.public_shares, "this party is not among the share's parties")
        _need(0 < self.x < group.q, "the secret share is out of range")
        _need(not self.X.is_identity, "the public key is the identity")
        _need(
            not any(X_j.is_identity for X_j in self.public_shares.values()), "a public share is the identity"
        )
        _need(
            group.mul_base(self.x) == self.public_shares[self.me],
            "the secret share does not match its public share",
        )
        base, rest = self.indices[: self.t], self.indices[self.t :]
        for z, expected in [(0, self.X), *((index, self.public_shares[index]) for index in rest)]:
            what = "the public key" if z == 0 else f"public share {z}"
            _need(self._interpolate(base, z) == expected, f"the public shares do not interpolate to {what}")
        last = base.pop()
        _need(
            self._interpolate(base, last) != self.public_shares[last],
            f"fewer than {self.t} shares give the key: the threshold is not what the record says",
        )

    def _interpolate(self, base: list[int], z: int) -> Point:
        """The value at z, in the exponent, of the polynomial through the public shares of `base`."""
        group = self.suite.group
        return group.sum([lagrange(base, i, z, group.q) * self.public_shares[i] for i in base])


@dataclass(frozen=True)
class AuxPublic:
    """One party's Paillier modulus and ring-Pedersen parameters."""

    N: mpz
    N_hat: mpz
    s: mpz
    t: mpz

    def as_list(self) -> list[mpz]:
        """[N, N^, s, t] as aux_id and presign sids hash them."""
        return [self.N, self.N_hat, self.s, self.t]

    def check(self, suite: Suite) -> None:
        """Sizes and domains, as protocol.md 2.1 checks 2-4 have them. Raises ShareCorrupt."""
        bits = suite.level.modulus_bits
        for name, modulus in (("N", self.N), ("N^", self.N_hat)):
            _need(
                bool(modulus & 1) and gmpy2.bit_length(modulus) == bits,
                f"{name} is not an odd number of {bits} bits",
            )
        _need(gmpy2.gcd(self.N, self.N_hat) == 1, "N and N^ share a factor")
        for name, base in (("s", self.s), ("t", self.t)):
            trivial = not 1 < base < self.N_hat - 1 or gmpy2.gcd(base, self.N_hat) != 1
            _need(not trivial, f"ring-Pedersen {name} is trivial or not a unit")


@dataclass(frozen=True)
class AuxSet:
    """One party's auxiliary data (protocol.md 2.1): its own secrets and everybody's public parameters."""

    suite: Suite
    aux_id: bytes
    """32 bytes, Hc("aux", sid, rid, all (N_j, N^_j, s_j, t_j))."""
    me: int
    parties: dict[int, AuxPublic]
    """By evaluation point, own one included."""
    paillier: PaillierSecret = field(repr=False)
    pedersen: RingPedersenSecret | None = field(repr=False)
    """Kept only to verify faster under one's own N^ (protocol.md 0.4)."""

    @property
    def indices(self) -> list[int]:
        """All evaluation points, ascending."""
        return sorted(self.parties)

    def to_bytes(self) -> bytes:
        """ENC of the record, the secrets included: seal it."""
        parties = [[index, *self.parties[index].as_list()] for index in self.indices]
        pedersen = None if self.pedersen is None else [self.pedersen.p, self.pedersen.q_, self.pedersen.lam]
        return enc.encode(
            [
                *_header(self.suite, AUX_SET_TAG),
                self.aux_id, self.me, parties, [self.paillier.p, self.paillier.q_], pedersen,
            ]
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, suite: Suite, data: bytes) -> Self:
        """Decode and `check`. Raises ShareCorrupt."""
        index = enc.Integer(suite.group.q.bit_length(), below=suite.group.q)
        prime = enc.Integer(suite.level.pb)
        modulus = enc.Integer(suite.level.modulus_bits)
        party = enc.Tuple(index, modulus, modulus, modulus, modulus)
        schema = enc.Tuple(
            *_HEADER_SCHEMA,
            _ID, index, enc.ListOf(party, 2, MAX_PARTIES), enc.ListOf(prime, 2),
            enc.Optional(enc.Tuple(prime, prime, modulus)),
        )  # fmt: skip
        aux_id, me, rows, primes, pedersen = _decode(data, schema, suite, AUX_SET_TAG, "aux set")
        parties = {row[0]: AuxPublic(*map(mpz, row[1:])) for row in rows}
        _need(
            [row[0] for row in rows] == sorted(parties), "aux set is damaged: indices repeat or are unsorted"
        )
        _need(me in parties, "this party is not among the aux set's parties")
        try:
            paillier = PaillierSecret(primes[0], primes[1])
            opener = None
            if pedersen is not None:
                opener = RingPedersenSecret(pedersen[0], pedersen[1], pedersen[2], parties[me].t)
        except ProtocolError as error:
            raise ShareCorrupt(f"aux set is damaged: {error}") from None
        aux = cls(suite, aux_id, me, parties, paillier, opener)
        aux.check()
        return aux

    def check(self) -> None:
        """Everybody's sizes and domains, no shared factor, own secrets against own parameters. Raises ShareCorrupt."""
        _need(len(self.aux_id) == 32, "aux_id is 32 bytes")
        _need(2 <= len(self.parties) <= MAX_PARTIES, f"an aux set has 2 to {MAX_PARTIES} parties")
        _need(
            all(0 < index < self.suite.group.q for index in self.parties),
            "an evaluation point is out of range",
        )
        _need(self.me in self.parties, "this party is not among the aux set's parties")
        product = mpz(1)
        for index in self.indices:
            party = self.parties[index]
            party.check(self.suite)
            moduli = party.N * party.N_hat
            _need(
                gmpy2.gcd(product, moduli) == 1, f"the moduli of party {index} share a factor with another's"
            )
            product *= moduli
        own = self.parties[self.me]
        _need(self.paillier.public.N == own.N, "the Paillier primes do not give this party's N")
        self.paillier.check(self.suite.level)
        if self.pedersen is not None:
            _need(
                self.pedersen.public.as_list() == own.as_list()[1:],
                "the ring-Pedersen secrets do not give N^, s, t",
            )
            self.pedersen.check(self.suite.level)
