from __future__ import annotations

from dataclasses import replace

import pytest
from payload_testing import TestAccount

from participant.payloads import PayloadError, Signature
from participant.payloads.decoded import ORDER, DigestToSign, check_signatures

ACCOUNT = TestAccount(b"\5" * 32)
DUE = tuple(DigestToSign(bytes([n + 1]) * 32, (n,), ACCOUNT.public_key((n,))) for n in range(3))
SIGNED = tuple(ACCOUNT.sign(due.path, due.digest) for due in DUE)


def with_one(place: int, signature: Signature) -> tuple[Signature, ...]:
    return (*SIGNED[:place], signature, *SIGNED[place + 1 :])


def test_signatures_that_fit() -> None:
    check_signatures(DUE, SIGNED)


@pytest.mark.parametrize("signatures", [(), SIGNED[:2], (*SIGNED, SIGNED[0])])
def test_another_number_of_signatures(signatures: tuple[Signature, ...]) -> None:
    with pytest.raises(PayloadError, match=f"^{len(signatures)} signatures for 3 digests$"):
        check_signatures(DUE, signatures)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, s=ORDER - s.s, v=s.v ^ 1), "has a high s"),
        (lambda s: replace(s, r=0), "recovers no public key"),
        (lambda s: replace(s, r=ORDER), "recovers no public key"),
        (lambda s: replace(s, s=0), "recovers no public key"),
        (lambda s: replace(s, v=4), "recovers no public key"),
        (lambda s: replace(s, v=s.v ^ 1), "is not one of the key"),
        (lambda s: replace(s, s=s.s ^ 1), "is not one of the key"),
    ],
)  # fmt: skip
def test_the_first_that_does_not_fit_is_named(change, says: str, place: int) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PayloadError, match=f"^signature {place} {says}"):
        check_signatures(DUE, with_one(place, change(SIGNED[place])))


def test_a_signature_over_another_digest_or_by_another_key() -> None:
    for other in (replace(DUE[1], digest=DUE[0].digest), replace(DUE[1], public_key=DUE[0].public_key)):
        with pytest.raises(PayloadError, match=r"^signature 1 is not one of the key"):
            check_signatures((DUE[0], other, DUE[2]), SIGNED)
