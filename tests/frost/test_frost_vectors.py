"""FROST(Ed25519, SHA-512) against RFC 9591 (appendix E.1) and the vectors of the Zcash Foundation's crates."""

from __future__ import annotations

from typing import Any

import pytest
from frost_testing import FrostSigners, run_dkg
from tss_testing import vectors

from tss.envelope import holder
from tss.errors import BadPoint
from tss.frost.ciphersuite import ED25519_SHA512
from tss.frost.dkg import check_told
from tss.frost.nonces import NoncePair
from tss.frost.sign import KIND, check_partial
from tss.frost.terms import binding_factors, combine, signature_share, terms
from tss.groups import ED25519
from tss.params import FROST_ED25519
from tss.records import KeyShare
from tss.vss import Polynomial, lagrange

FILES = (
    "frost-rfc9591/frost-ed25519-sha512.json",
    "frost-zf/frost-ed25519/vectors.json",
    "frost-zf/frost-ed25519/vectors-big-identifier.json",
)
SMALL = FILES[:2]
B = ED25519.G
ser = ED25519_SHA512.ser


def scalar(text: str) -> int:
    return ED25519.scalar_from_bytes_checked(bytes.fromhex(text))


def polynomial(inputs: dict[str, Any]) -> Polynomial:
    rest = [scalar(text) for text in inputs["share_polynomial_coefficients"]]
    return Polynomial(ED25519, (scalar(inputs["group_secret_key"]), *rest))


def shares_of(inputs: dict[str, Any], n: int) -> dict[int, KeyShare]:
    f = polynomial(inputs)
    public = {j: ED25519.mul_base(f.evaluate(j)) for j in range(1, n + 1)}
    return {
        j: KeyShare(FROST_ED25519, b"k" * 32, b"e" * 32, 2, j, f.commit()[0], public, b"", f.evaluate(j))
        for j in public
    }


def drawn(output: dict[str, Any], share: int) -> NoncePair:
    """The pair that the vector's randomness gives."""
    dice = iter([bytes.fromhex(output[f"{name}_nonce_randomness"]) for name in ("hiding", "binding")])
    record = KeyShare(FROST_ED25519, b"k" * 32, b"e" * 32, 2, 1, B, {}, b"", share)
    return NoncePair.draw(record, lambda _size: next(dice))


@pytest.mark.attack("D5")
@pytest.mark.parametrize("file", FILES)
def test_every_step_of_the_vectors(file: str) -> None:
    given = vectors(file)
    inputs, round1 = given["inputs"], given["round_one_outputs"]["outputs"]
    X, message = polynomial(inputs).commit()[0], bytes.fromhex(inputs["message"])
    assert X.to_bytes().hex() == inputs.get("group_public_key", inputs.get("verifying_key_key"))
    for entry in inputs["participant_shares"]:
        assert polynomial(inputs).evaluate(entry["identifier"]) == scalar(entry["participant_share"])
    share = {j: polynomial(inputs).evaluate(j) for j in inputs["participant_list"]}
    pairs = {entry["identifier"]: drawn(entry, share[entry["identifier"]]) for entry in round1}
    commitments = {i: pair.commitments for i, pair in pairs.items()}
    factors = binding_factors(X, message, commitments)
    at = terms(X, message, commitments)
    assert tuple(inputs["participant_list"]) == at.S
    z = {}
    for entry, said in zip(round1, given["round_two_outputs"]["outputs"], strict=True):
        i = entry["identifier"]
        d, e = pairs[i].spend()
        assert (ser(d).hex(), ser(e).hex()) == (entry["hiding_nonce"], entry["binding_nonce"])
        assert [point.to_bytes().hex() for point in commitments[i]] == [
            entry["hiding_nonce_commitment"],
            entry["binding_nonce_commitment"],
        ]
        assert ser(factors[i]).hex() == entry["binding_factor"]
        z[i] = signature_share(at, i, share[i], d, e)
        assert (said["identifier"], ser(z[i]).hex()) == (i, said["sig_share"])
    assert combine(at, list(z.values())).encoded.hex() == given["final_output"]["sig"]


@pytest.mark.parametrize("file", SMALL)
def test_the_protocol_gives_the_signature_of_the_vectors(file: str) -> None:
    given = vectors(file)
    inputs = given["inputs"]
    S = tuple(inputs["participant_list"])
    signers = FrostSigners(S, 3, 2)
    object.__setattr__(signers, "shares", shares_of(inputs, 3))
    outputs = {entry["identifier"]: entry for entry in given["round_one_outputs"]["outputs"]}
    pairs = {j: [drawn(outputs[j], signers.shares[j].x)] for j in S}
    results = signers.full_sign(bytes.fromhex(inputs["message"]), pairs=pairs).results()
    assert {result.encoded.hex() for result in results.values()} == {given["final_output"]["sig"]}


def word(value: int) -> bytes:
    """The 32 bytes from which a scalar below L is drawn: its 253 bits, left-aligned."""
    return (value << 3).to_bytes(32, "big")


def test_key_generation_gives_the_shares_of_the_vectors() -> None:
    """Our proofs of possession also bind the session; without it they are those of the vectors."""
    inputs = vectors("frost-zf/frost-ed25519/vectors_dkg.json")["inputs"]
    given = {j: inputs[str(j)] for j in (1, 2, 3)}
    dice = {
        j: {0: word(scalar(one["signing_key"])), 1: word(scalar(one["coefficient"]))}
        for j, one in given.items()
    }
    made = run_dkg(3, 2, dice=dice).results()
    for j, one in given.items():
        assert ser(made[j].x).hex() == one["signing_share"]
        assert made[j].public_shares[j].to_bytes().hex() == one["verifying_share"]
        assert made[j].X.to_bytes().hex() == inputs["verifying_key"]
        C = [ED25519.decode_point(bytes.fromhex(point)) for point in one["vss_commitments"]]
        proof = bytes.fromhex(one["proof_of_knowledge"])
        R, mu = ED25519.decode_point(proof[:32]), scalar(proof[32:].hex())
        assert mu * B == R + ED25519_SHA512.pop_challenge(b"", j, C[0], R) * C[0]
        for sender, text in one["signing_shares"].items():
            points = [ED25519.decode_point(bytes.fromhex(P)) for P in given[int(sender)]["vss_commitments"]]
            check_told(holder(int(sender)), holder(j), [points], scalar(text))


def test_malformed_elements_are_refused() -> None:
    text = vectors("frost-zf/frost-ed25519/elements.json")["elements"]["invalid_element"]
    with pytest.raises(BadPoint):
        ED25519.decode_point(bytes.fromhex(text))
    samples = vectors("frost-zf/frost-ed25519/samples.json")
    for name in ("element1", "element2"):
        assert ED25519.decode_point(bytes.fromhex(samples[name])).to_bytes().hex() == samples[name]


def test_a_lost_share_from_the_vectors_of_repairing() -> None:
    """zeta = sum of lam_i(H, z)*s_i: the sigmas add up to it."""
    given = vectors("frost-zf/frost-ed25519/repair-share.json")["sigma_generation"]
    total = sum(scalar(given[f"sigma_{k}"]) for k in range(1, 5)) % ED25519.q
    assert ser(total).hex() == given["sigma_sum"]


@pytest.mark.parametrize("file", FILES)
def test_every_share_of_the_vectors_passes_its_check(file: str) -> None:
    given = vectors(file)
    inputs = given["inputs"]
    X, message = polynomial(inputs).commit()[0], bytes.fromhex(inputs["message"])
    outputs = given["round_one_outputs"]["outputs"]
    commitments = {
        one["identifier"]: (
            ED25519.decode_point(bytes.fromhex(one["hiding_nonce_commitment"])),
            ED25519.decode_point(bytes.fromhex(one["binding_nonce_commitment"])),
        )
        for one in outputs
    }
    at = terms(X, message, commitments)
    for said in given["round_two_outputs"]["outputs"]:
        j = said["identifier"]
        PK_j = ED25519.mul_base(polynomial(inputs).evaluate(j))
        check_partial(at, holder(j), PK_j, scalar(said["sig_share"]), KIND)
    assert sum(lagrange(at.S, j, 0, ED25519.q) for j in at.S) % ED25519.q == 1
