"""What is mutated, and which tests have to notice it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

CHECKS: Final = r"(.*\.)?_?(verify|check|is_|in_|need|accept|refuse).*"
"""Functions that check something, by their names."""

EVERYTHING: Final = r".*"
"""Also what runs at import: schemas, limits, tables."""


@dataclass(frozen=True)
class Target:
    """Functions of one file, by their qualified names (module level: the empty name), and directories of tests."""

    path: str
    functions: str
    tests: tuple[str, ...]

    def holds(self, function: str) -> bool:
        """Whether a function of the file is mutated."""
        return re.fullmatch(self.functions, function) is not None


_ZK: Final = r"verify|\w*_bound|(Statement|Commitment)\.items|Proof\.\w+|schema|challenge|PRIME_ROUNDS"
_ARITHMETIC: Final = ("tests/tss",)
_ENGINE: Final = ("tests/tss_engine",)
_PROTOCOLS: Final = ("tests/cggmp24",)

TARGETS: Final = (
    *(
        Target(f"tss/zk/{name}.py", _ZK, ("tests/zk",))
        for name in ("sch", "elog", "enc_elg", "aff_g", "fac", "mod", "prm", "dec", "aff_g_star")
    ),
    Target("tss/zk/common.py", EVERYTHING, ("tests/zk",)),
    Target("tss/encoding.py", EVERYTHING, _ARITHMETIC),
    Target("tss/transcript.py", EVERYTHING, (*_ARITHMETIC, "tests/zk")),
    Target("tss/groups/abstract.py", EVERYTHING, _ARITHMETIC),
    Target("tss/groups/secp256k1.py", EVERYTHING, _ARITHMETIC),
    Target("tss/groups/ed25519.py", EVERYTHING, _ARITHMETIC),
    Target("tss/params.py", EVERYTHING, (*_ARITHMETIC, "tests/zk")),
    Target("tss/modexp.py", r"check_unit|inverse|powmod.*|OwnModulus.*", _ARITHMETIC),
    Target("tss/primes.py", r"is_safe_prime|check_own_primes|_fermat", _ARITHMETIC),
    Target("tss/paillier.py", EVERYTHING, _ARITHMETIC),
    Target("tss/ring_pedersen.py", EVERYTHING, _ARITHMETIC),
    Target("tss/vss.py", EVERYTHING, _ARITHMETIC),
    Target("tss/ecdsa.py", EVERYTHING, _ARITHMETIC),
    Target("tss/hd.py", EVERYTHING, _ARITHMETIC),
    Target("tss/records.py", EVERYTHING, _ARITHMETIC),
    Target("tss/envelope.py", EVERYTHING, _ENGINE),
    Target("tss/echo.py", EVERYTHING, _ENGINE),
    Target("tss/echo_rounds.py", EVERYTHING, _ENGINE),
    Target("tss/mailbox.py", EVERYTHING, _ENGINE),
    Target("tss/proposal.py", EVERYTHING, _ENGINE),
    Target("tss/evidence.py", EVERYTHING, _ENGINE),
    Target("tss/cggmp24/keygen.py", CHECKS, _PROTOCOLS),
    Target("tss/cggmp24/aux_info.py", CHECKS, _PROTOCOLS),
    Target("tss/cggmp24/presign.py", CHECKS + r"|Presigning\.(failed|commit_mask)", _PROTOCOLS),
    Target("tss/cggmp24/identify.py", EVERYTHING, _PROTOCOLS),
    Target(
        "tss/cggmp24/sign.py", CHECKS + r"|combine|_checked_sigma|_shown_entropies|sigma_schema", _PROTOCOLS
    ),
    Target("tss/cggmp24/presignature.py", EVERYTHING, _PROTOCOLS),
    Target("tss/cggmp24/completion.py", EVERYTHING, _PROTOCOLS),
    Target("participant/sharefile.py", EVERYTHING, ("tests/participant",)),
)


def chosen(words: list[str]) -> list[Target]:
    """The targets whose paths begin with one of `words`; all of them for no words."""
    return [t for t in TARGETS if not words or any(t.path.startswith(word) for word in words)]
