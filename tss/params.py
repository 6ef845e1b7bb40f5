"""Security levels (protocol.md 0.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tss.errors import BadParameters
from tss.groups import ED25519, SECP256K1

if TYPE_CHECKING:
    from tss.groups import Group

MAX_SIGNERS: Final = 32
"""|S|max of (C5): the largest signer set for which the plaintext bound of the dec proof stays below N/2."""

MAX_PARTIES: Final = 16
"""Largest committee. FROST and CGGMP are proven for static corruption only (security.md C12)."""


@dataclass(frozen=True)
class SecurityLevel:
    """The numbers of protocol.md 0.2, in bits unless said otherwise.

    Raises BadParameters when (C2)-(C5) do not hold; (C1) needs the group and is checked by `Suite`.
    """

    name: str
    kappa: int
    """Bit size of q and of hash challenges."""
    l: int  # noqa: E741 - the paper's symbol
    """Honest secrets k, gamma, x lie in +-2^l."""
    eps: int
    """Slack of the range proofs."""
    l_prime: int
    """Affine masks y lie in +-2^l_prime."""
    m: int
    """Repetitions of the proofs with 1-bit or root challenges."""
    pb: int
    """Bits of every Paillier and ring-Pedersen prime."""

    def __post_init__(self) -> None:
        signer_bits = (MAX_SIGNERS - 1).bit_length()
        inequalities = {
            "C2: eps >= l + kappa": self.eps >= self.l + self.kappa,
            "C3: l' >= 3l + eps": self.l_prime >= 3 * self.l + self.eps,
            "C4: 2l + eps + 2 <= pb": 2 * self.l + self.eps + 2 <= self.pb,
            "C5: l' + 2eps + 1 + ceil(log2 |S|max) + 1 < 2pb - 1": (
                self.l_prime + 2 * self.eps + 1 + signer_bits + 1 < 2 * self.pb - 1
            ),
            "m is a positive multiple of 8": self.m > 0 and self.m % 8 == 0,
        }
        for text, holds in inequalities.items():
            if not holds:
                raise BadParameters(f"security level {self.name} breaks ({text})")

    @property
    def modulus_bits(self) -> int:
        """Exact bit length of N and of N^."""
        return 2 * self.pb

    @property
    def max_integer_bits(self) -> int:
        """Cap on any integer before arithmetic (protocol.md 0.5); the largest legal one is fac's v."""
        return 2 * 2 * self.pb + self.l + self.eps + 64

    def as_list(self) -> list[int]:
        """[pb, l, l', eps, m] as it enters every challenge and sid (protocol.md 0.6, 0.7)."""
        return [self.pb, self.l, self.l_prime, self.eps, self.m]


@dataclass(frozen=True)
class Suite:
    """PROTO string, group and level: what every hash of a session is bound to."""

    proto: str
    group: Group
    level: SecurityLevel
    chain_code_bytes: int = 32
    """Length of a key's chain code: 0 where its keys have no public derivation."""
    has_aux: bool = True
    """Whether signing takes Paillier keys and ring-Pedersen parameters."""
    own_keys: bool = True
    """Whether keys are made in it; else it signs with those of the other suite of its group."""

    def signs_for(self, keys: Suite) -> bool:
        """Whether keys of the suite `keys` sign in this one."""
        return self is keys or (not self.own_keys and self.group is keys.group)

    def __post_init__(self) -> None:
        if self.group.q >= 1 << self.level.l:
            raise BadParameters(f"{self.proto}: breaks (C1: q < 2^l)")
        if self.group.q > 1 << self.level.kappa:
            raise BadParameters(f"{self.proto}: scalar challenges are longer than kappa, which (C2) masks")


def spoken(suites: Iterable[Suite]) -> dict[str, Suite]:
    """By PROTO: these, and the suites that sign with their keys."""
    made = list(suites)
    further = [suite for suite in (FROST_BIP340,) if any(suite.signs_for(keys) for keys in made)]
    return {suite.proto: suite for suite in (*made, *further)}


LEVEL_128: Final = SecurityLevel(name="128", kappa=256, l=256, eps=512, l_prime=1280, m=128, pb=1536)

CGGMP24_SECP256K1: Final = Suite("cggmp24-secp256k1/v1", SECP256K1, LEVEL_128)

FROST_BIP340: Final = Suite(
    "frost-secp256k1-bip340/v1", SECP256K1, LEVEL_128, chain_code_bytes=0, has_aux=False, own_keys=False
)
"""BIP-340 by the keys of CGGMP24_SECP256K1: a name of its own in every hash and message, so that nothing of one is the other's."""

FROST_ED25519: Final = Suite("frost-ed25519/v1", ED25519, LEVEL_128, chain_code_bytes=0, has_aux=False)
