from __future__ import annotations

import random
from dataclasses import replace

import ecdsa
import pytest
from embit import ec, script
from embit.finalizer import finalize_psbt
from embit.psbt import PSBT
from embit.transaction import Transaction
from payload_testing import TestAccount
from psbt_testing import ACCOUNT, FORMS, MIXED, STRANGER, Payment, key_of, psbt_of, utxo

from participant.payloads import PayloadError, PsbtTx, Signature, decode, finish
from participant.payloads.bitcoin import BitcoinInput, BitcoinOutput, BitcoinSummary, der
from participant.payloads.psbt import Psbt


def check_with_foreign_eyes(data: bytes, raw_transaction: bytes, indices: list[int]) -> None:
    """embit computes the digests of its own reading of the PSBT, ecdsa verifies the signatures in the raw bytes."""
    theirs = PSBT.parse(data)
    final = Transaction.parse(raw_transaction)
    assert final.serialize() == raw_transaction
    assert final.txid() == theirs.tx.txid() or any(i.script_sig.data for i in final.vin)
    assert [o.serialize() for o in final.vout] == [o.serialize() for o in theirs.tx.vout]
    for index in indices:
        items = final.vin[index].witness.items
        if not items:
            data_ = final.vin[index].script_sig.data
            signature, rest = data_[1 : 1 + data_[0]], data_[1 + data_[0] :]
            items = [signature, rest[1:]]
            assert rest[0] == len(items[1])
        signature, public_key = items
        assert signature[-1] == 1
        verifier = ecdsa.VerifyingKey.from_string(public_key, curve=ecdsa.SECP256k1)
        digest = theirs.sighash(index, sighash=1)
        assert verifier.verify_digest(signature[:-1], digest, sigdecode=ecdsa.util.sigdecode_der)


@pytest.mark.parametrize("seed", range(8))
def test_signed_by_us_and_read_by_embit_and_ecdsa(seed: int) -> None:
    rng = random.Random(seed)
    account = TestAccount(rng.randbytes(32), rng.randbytes(32))
    forms = [rng.choice(sorted(FORMS)) for _ in range(rng.randrange(1, 5))]
    inputs = [(form, (rng.randrange(2), i), rng.randrange(20_000, 10**9)) for i, form in enumerate(forms)]
    total = sum(value for _, _, value in inputs)
    change = rng.randrange(1000, total // 2)
    payment = Payment(account, inputs, [(None, total - change - 900), ((1, 7), change)], seed=seed)
    data = payment.bytes()
    payload = PsbtTx(data)
    decoded = decode(payload, account)
    assert [due.digest for due in decoded.digests] == [payment.psbt.sighash(i) for i in range(len(forms))]
    assert [due.path for due in decoded.digests] == [path for _, path, _ in inputs]
    summary = decoded.summary
    assert isinstance(summary, BitcoinSummary)
    assert summary.fee == 900, f"seed {seed}"
    spent = [scope.non_witness_utxo.vout[scope.vout] for scope in payment.psbt.inputs]
    assert summary.inputs == tuple(
        BitcoinInput(vin.txid.hex(), vin.vout, 0xFFFFFFFD, value, out.script_pubkey.data, True, path)
        for vin, out, (_, path, value) in zip(payment.psbt.tx.vin, spent, inputs, strict=True)
    )
    assert summary.outputs == tuple(
        BitcoinOutput(out.value, out.script_pubkey.data, path)
        for out, path in zip(payment.psbt.tx.vout, (None, (1, 7)), strict=True)
    )
    assert (summary.version, summary.locktime) == (2, payment.psbt.tx.locktime)
    assert summary.spent == total - change
    assert summary.outputs[0].address() == script.Script(summary.outputs[0].script).address()
    done = finish(payload, decoded, account.sign_all(decoded))
    assert done.raw_transaction is not None
    check_with_foreign_eyes(data, done.raw_transaction, list(range(len(forms))))
    assert done.psbt is not None
    again = PSBT.parse(done.psbt)
    assert finalize_psbt(again).serialize() == done.raw_transaction
    assert not any(scope.partial_sigs or scope.bip32_derivations for scope in again.inputs)


def test_key_at_the_requests_path_needs_no_derivation_in_the_psbt() -> None:
    payment = Payment(ACCOUNT, [("p2sh-p2wpkh", (3,), 5000)], [(None, 4000)], derivations=False)
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT, (3,))
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded))
    assert done.raw_transaction is not None
    # The foreign eye cannot tell the form of a P2SH input without its redeem script; ours follows from the key.
    payment.psbt.inputs[0].redeem_script = script.p2wpkh(key_of(ACCOUNT, (3,)))
    check_with_foreign_eyes(payment.bytes(), done.raw_transaction, [0])
    with pytest.raises(PayloadError, match="no unsigned input of this PSBT belongs"):
        decode(payload, ACCOUNT, (4,))


def test_STRANGERs_inputs_are_left_to_their_owners() -> None:
    inputs = [("p2wpkh", None, 40_000), ("p2wpkh", (0, 1), 50_000), ("p2wpkh", (0, 2), 60_000)]
    payment = Payment(ACCOUNT, inputs, [(None, 140_000)])
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT)
    assert [due.input_index for due in decoded.digests] == [1, 2]
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded))
    assert done.raw_transaction is None
    assert done.psbt is not None
    partial = PSBT.parse(done.psbt)
    assert [len(scope.partial_sigs) for scope in partial.inputs] == [0, 1, 1]
    partial.sign_with(ec.PrivateKey(STRANGER.private_key((0,))))
    theirs = finalize_psbt(PSBT.parse(partial.serialize()))
    check_with_foreign_eyes(payment.bytes(), theirs.serialize(), [0, 1, 2])
    second = PsbtTx(partial.serialize())
    ours = decode(second, STRANGER, (0,))
    finished = finish(second, ours, STRANGER.sign_all(ours))
    assert finished.raw_transaction is None, "two partial signatures of others are not ours to finalise"
    partial.inputs[1].final_scriptwitness = theirs.vin[1].witness
    partial.inputs[2].final_scriptwitness = theirs.vin[2].witness
    last = PsbtTx(partial.serialize())
    ours = decode(last, STRANGER, (0,))
    assert [due.input_index for due in ours.digests] == [0]
    assert finish(last, ours, STRANGER.sign_all(ours)).raw_transaction == theirs.serialize()


@pytest.mark.parametrize("place", range(3))
def test_what_is_final_already_is_not_signed_again(place: int) -> None:
    """Two of three inputs of ours came back final, of every form."""
    payment = Payment(ACCOUNT, MIXED, [(None, 149_000)])
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT)
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded))
    assert done.psbt is not None
    psbt = Psbt.parse(done.psbt)
    for index, old in enumerate(Psbt.parse(payload.psbt).inputs):
        named = {key: value for key, value in old.items() if key[0] == 6}
        psbt.inputs[index] = old if index == place else {**psbt.inputs[index], **named}
    left = PsbtTx(psbt.serialise())
    due = decode(left, ACCOUNT)
    assert due.digests == (decoded.digests[place],)
    assert due.summary == decoded.summary
    assert finish(left, due, ACCOUNT.sign_all(due)).raw_transaction == done.raw_transaction


def test_what_stays_of_an_input_once_it_is_final() -> None:
    """BIP-174: what it spends, its final scripts, and what nobody knows."""
    payment = Payment(ACCOUNT, MIXED, [((1, 1), 149_000)])
    for scope in payment.psbt.inputs:
        # embit shares one default dict among all scopes, so each gets its own.
        scope.sighash_type, scope.unknown = 1, {b"\xfc\x05ours": b"kept"}
    payment.psbt.outputs[0].unknown = {b"\xfc\x05ours": b"kept too"}
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT)
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded)).psbt
    assert done is not None
    before, after = Psbt.parse(payload.psbt), Psbt.parse(done)
    kinds = [sorted(key[0] for key in fields) for fields in after.inputs]
    assert kinds == [[0, 1, 8, 0xFC], [0, 7, 0xFC], [0, 1, 7, 8, 0xFC]]
    for old, new in zip(before.inputs, after.inputs, strict=True):
        assert {key: value for key, value in new.items() if key[0] not in {7, 8}}.items() <= old.items()
    assert after.inputs[0][b"\xfc\x05ours"] == b"kept"
    assert after.outputs == before.outputs
    assert after.outputs[0][b"\xfc\x05ours"] == b"kept too"


def test_version_2_gives_the_same_digests_and_clears_what_may_be_modified() -> None:
    payment = Payment(ACCOUNT, MIXED, [(None, 149_000)], seed=4)
    version_0 = payment.bytes()
    two = PSBT.parse(version_0)
    two.version, two.tx_version, two.locktime = 2, two.tx.version, two.tx.locktime
    two.unknown = {**two.unknown, b"\x06": b"\x03"}
    data = two.serialize()
    payload = PsbtTx(data)
    decoded = decode(payload, ACCOUNT)
    assert decoded == decode(PsbtTx(version_0), ACCOUNT)
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded))
    assert (
        done.raw_transaction == finish(PsbtTx(version_0), decoded, ACCOUNT.sign_all(decoded)).raw_transaction
    )
    assert done.psbt is not None
    assert Psbt.parse(done.psbt).globals[b"\x06"] == b"\0"


def test_p2sh_p2wpkh_example_of_bip_143() -> None:
    account = TestAccount(bytes.fromhex("eb696a065ef48a2192da5b28b694f87544b30fae8327c4510137a922f32c6dcf"))
    payload = psbt_of(
        "0100000001db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000000feffffff02b8b4eb0b000000"
        "001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8"
        "bd8ad6d77c88ac92040000",
        {b"\1": utxo(10 * 10**8, bytes.fromhex("a9144733f37cf4db86fbc2efed2500b4f4e49f31202387"))},
    )
    decoded = decode(payload, account)
    assert (
        decoded.digests[0].digest.hex() == "64f3b0f4dd2bb3aa1ce8566d220cc74dda9df97d8490cc81d89d735c92e59fb6"
    )
    signed = finish(payload, decoded, account.sign_all(decoded)).raw_transaction
    # The example's signature is RFC 6979 too, so the bytes are the published ones.
    assert signed is not None
    assert signed.hex() == (
        "01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a5477010000001716001479091972186c449e"
        "b1ded22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f"
        "000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02473044022047ac8e878352d3ebbde1c94ce3a10d057c2417"
        "5747116f8288e5d794d12d482f0220217f36a485cae903c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e8921"
        "2f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a2687392040000"
    )


def test_native_p2wpkh_example_of_bip_143() -> None:
    """Its second input is ours, the first another's P2PK. The amount comes as a claim only, which two inputs forbid."""
    account = TestAccount(bytes.fromhex("619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9"))
    unsigned = (
        "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182"
        "d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f"
        "85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
    )
    claim = {b"\1": utxo(6 * 10**8, bytes.fromhex("00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1"))}
    with pytest.raises(PayloadError, match="input 1 comes without its previous transaction"):
        decode(psbt_of(unsigned, {}, claim), account)


def test_der_is_what_ecdsa_writes() -> None:
    rng = random.Random(1)
    for bits in (1, 7, 8, 9, 247, 248, 255, 256):
        r, s = rng.getrandbits(bits) | 1 << (bits - 1), rng.getrandbits(bits) | 1 << (bits - 1)
        assert der(Signature(r, s, 0)) == ecdsa.util.sigencode_der(r, s, ecdsa.SECP256k1.order)


def test_signatures_go_to_their_own_inputs() -> None:
    payment = Payment(ACCOUNT, MIXED, [(None, 149_000)])
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT)
    signatures = ACCOUNT.sign_all(decoded)
    with pytest.raises(PayloadError, match="signature 0 is not one of the key"):
        finish(payload, decoded, signatures[::-1])
    wrong = replace(decoded.digests[0], input_index=None)
    with pytest.raises(PayloadError, match="not of a PSBT"):
        finish(payload, replace(decoded, digests=(wrong, *decoded.digests[1:])), signatures)


def test_more_inputs_than_one_request_signs() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 1000)] * 101, [(None, 100_000)])
    with pytest.raises(PayloadError, match="101 inputs to sign, at most 100"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)
    assert (
        len(
            decode(
                PsbtTx(Payment(ACCOUNT, [("p2wpkh", (0, 1), 1000)] * 100, [(None, 9)]).bytes()), ACCOUNT
            ).digests
        )
        == 100
    )
