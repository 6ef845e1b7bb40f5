"""Taproot inputs of a PSBT, spent by their keys: embit reads the digests and libsecp256k1 the signatures, lies are refused."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from coincurve import PublicKeyXOnly
from embit import ec, script
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionOutput
from payload_testing import TestAccount
from psbt_testing import ACCOUNT, STRANGER, Payment, key_of

from participant.payloads import BitcoinSummary, PayloadError, PsbtTx, decode, finish
from participant.payloads.addresses import p2tr_script
from participant.payloads.psbt import Psbt
from tss.frost.bip340 import NO_SCRIPTS, Tweaks, output_key
from tss.frost.ciphersuite import x_only
from tss.groups import SECP256K1

FORMS = ("p2tr", "p2tr", "p2wpkh", "p2pkh", "p2sh-p2wpkh")
ROOT = hashlib.sha256(b"scripts").digest()


def taproot(count: int = 2, **fields: Any) -> Payment:
    inputs = [("p2tr", (0, number), 50_000 + number) for number in range(count)]
    return Payment(ACCOUNT, inputs, [(None, 30_000), ((1, 1), 10_000)], **fields)


def decoded(payment: Payment, account: TestAccount = ACCOUNT) -> Any:
    return decode(PsbtTx(payment.bytes()), account)


def check(payment: Payment, raw_transaction: bytes, index: int, kind: int = 0) -> None:
    """The one item of the witness, by embit's digest and libsecp256k1."""
    final = Transaction.parse(raw_transaction)
    (signature,) = final.vin[index].witness.items
    assert len(signature) == (65 if kind else 64)
    assert not kind or signature[64] == kind
    scopes = payment.psbt.inputs
    spent = [scope.witness_utxo or scope.non_witness_utxo.vout[scope.vout] for scope in scopes]
    digest = payment.psbt.tx.sighash_taproot(
        index, [out.script_pubkey for out in spent], [out.value for out in spent], kind
    )
    assert PublicKeyXOnly(spent[index].script_pubkey.data[2:]).verify(signature[:64], digest)


@pytest.mark.parametrize("seed", range(6))
def test_signed_by_us_and_read_by_embit_and_libsecp256k1(seed: int) -> None:
    rng = random.Random(seed)
    account = TestAccount(rng.randbytes(32), rng.randbytes(32))
    forms = ["p2tr", *(rng.choice(FORMS) for _ in range(rng.randrange(4)))]
    rng.shuffle(forms)
    inputs = [(form, (rng.randrange(2), i), rng.randrange(20_000, 10**9)) for i, form in enumerate(forms)]
    total = sum(value for _, _, value in inputs)
    payment = Payment(account, inputs, [(None, total - 11_000), ((1, 7), 10_000)], seed=seed)
    payload = PsbtTx(payment.bytes())
    found = decode(payload, account)
    for due, form in zip(found.digests, forms, strict=True):
        assert (due.tweaks == Tweaks(due.path, NO_SCRIPTS)) == (form == "p2tr"), f"seed {seed}"
        assert due.digest == payment.psbt.sighash(due.input_index, sighash=int(form != "p2tr"))
        assert due.public_key == account.public_key(due.path)
    assert isinstance(found.summary, BitcoinSummary)
    assert (found.summary.fee, found.summary.spent) == (1000, total - 10_000)
    assert [i.path for i in found.summary.inputs] == [path for _, path, _ in inputs]
    done = finish(payload, found, account.sign_all(found))
    assert done.raw_transaction is not None
    assert done.psbt is not None
    for index, form in enumerate(forms):
        if form == "p2tr":
            check(payment, done.raw_transaction, index)
    fields = Psbt.parse(done.psbt).inputs
    assert not any(key[0] in range(0x13, 0x19) for one in fields for key in one)
    assert PSBT.parse(done.psbt).tx.txid() == payment.psbt.tx.txid()


def test_a_signature_with_the_sighash_byte() -> None:
    payment = taproot(2)
    payment.psbt.inputs[1].sighash_type = 1
    payment.psbt.inputs[0].sighash_type = 0
    payload, found = PsbtTx(payment.bytes()), decoded(payment)
    done = finish(payload, found, ACCOUNT.sign_all(found))
    assert done.raw_transaction is not None
    check(payment, done.raw_transaction, 0, 0)
    check(payment, done.raw_transaction, 1, 1)
    assert found.digests[1].digest != decoded(taproot(2)).digests[1].digest


def test_the_key_at_the_requests_path_needs_no_derivation() -> None:
    payment = taproot(1, derivations=False)
    with pytest.raises(PayloadError, match="no unsigned input"):
        decoded(payment)
    (due,) = decode(PsbtTx(payment.bytes()), ACCOUNT, (0, 0)).digests
    assert due.tweaks == Tweaks((0, 0), NO_SCRIPTS)


def test_what_others_still_have_to_sign() -> None:
    """Our signature stands in the field of BIP-371, where the next signer finds it."""
    payment = Payment(ACCOUNT, [("p2tr", (0, 1), 50_000), ("p2tr", None, 40_000)], [(None, 80_000)])
    found = decoded(payment)
    (due,) = found.digests
    done = finish(PsbtTx(payment.bytes()), found, ACCOUNT.sign_all(found))
    assert (done.raw_transaction, done.psbt is None) == (None, False)
    assert done.psbt is not None
    signature = Psbt.parse(done.psbt).inputs[0][b"\x13"]
    key = output_key(SECP256K1.decode_point(due.public_key))
    assert PublicKeyXOnly(x_only(key)).verify(signature, due.digest)
    assert PSBT.parse(done.psbt).inputs[0].final_scriptwitness is None


def test_amounts_are_signed_so_that_no_previous_transactions_are_needed() -> None:
    payment = Payment(ACCOUNT, [("p2tr", (0, 1), 50_000), ("p2tr", None, 40_000)], [(None, 80_000)])
    for scope in payment.psbt.inputs:
        scope.non_witness_utxo = None
    summary = decoded(payment).summary
    assert (summary.fee, summary.spent) == (10_000, 50_000)
    utxo = payment.psbt.inputs[1].witness_utxo
    honest = decoded(payment).digests[0].digest
    for other in (
        TransactionOutput(utxo.value + 1, utxo.script_pubkey),
        TransactionOutput(utxo.value, script.p2wpkh(key_of(STRANGER, (8,)))),
    ):
        payment.psbt.inputs[1].witness_utxo = other
        assert decoded(payment).digests[0].digest != honest
    payment.psbt.inputs[1].witness_utxo = None
    with pytest.raises(PayloadError, match="input 1 comes without what it spends"):
        decoded(payment)


def test_beside_inputs_of_older_forms_amounts_are_proved() -> None:
    """Their signatures hold whatever the others spend."""
    payment = Payment(ACCOUNT, [("p2tr", (0, 1), 50_000), ("p2wpkh", (0, 2), 40_000)], [(None, 80_000)])
    payment.psbt.inputs[0].non_witness_utxo = None
    with pytest.raises(PayloadError, match="input 0 comes without its previous transaction"):
        decoded(payment)


def test_an_input_that_is_final_proves_nothing() -> None:
    """A signature that is not made now covers nothing of this request."""
    payment = Payment(ACCOUNT, [("p2tr", (0, 1), 50_000), ("p2tr", None, 40_000)], [(None, 80_000)])
    payment.psbt.inputs[0].non_witness_utxo = None
    payment.psbt.inputs[0].final_scriptwitness = script.Witness([b"s" * 64])
    with pytest.raises(PayloadError, match="input 0 comes without its previous transaction"):
        decoded(payment)


def with_scripts(root: bytes = ROOT) -> Payment:
    """The first input's output has scripts beside the key."""
    payment = taproot(2)
    scope = payment.psbt.inputs[0]
    paid = script.Script(p2tr_script(ACCOUNT.public_key((0, 0)), root))
    scope.non_witness_utxo = None
    scope.witness_utxo = TransactionOutput(50_000, paid)
    scope.taproot_merkle_root = root
    return payment


def test_an_output_with_scripts_is_spent_by_its_key() -> None:
    payment = with_scripts()
    payload, found = PsbtTx(payment.bytes()), decoded(payment)
    assert found.digests[0].tweaks == Tweaks((0, 0), ROOT)
    done = finish(payload, found, ACCOUNT.sign_all(found))
    assert done.raw_transaction is not None
    for index in range(2):
        check(payment, done.raw_transaction, index)


def test_change_with_scripts_is_not_ours() -> None:
    """Whoever satisfies a script may spend it."""
    payment = taproot(2)
    key = ACCOUNT.public_key((1, 1))
    summaries = []
    for root in (NO_SCRIPTS, ROOT):
        payment.psbt.outputs[1].script_pubkey = script.Script(p2tr_script(key, root))
        internal = ec.PublicKey.from_xonly(key[1:])
        payment.psbt.outputs[1].bip32_derivations = {}
        origin = DerivationPath(ACCOUNT.fingerprint, [1, 1])
        payment.psbt.outputs[1].taproot_bip32_derivations[internal] = ([], origin)
        summaries.append(decoded(payment).summary)
    assert [[out.path for out in summary.outputs] for summary in summaries] == [[None, (1, 1)], [None, None]]
    assert summaries[1].spent - summaries[0].spent == 10_000


def lie(payment: Payment, how: str) -> None:
    scope = payment.psbt.inputs[0]
    other = ec.PublicKey.from_xonly(ACCOUNT.public_key((0, 1))[1:])
    if how in {"none", "single", "anyonecanpay", "junk"}:
        scope.sighash_type = {"none": 2, "single": 3, "anyonecanpay": 0x81, "junk": 0x100}[how]
    elif how == "other root":
        scope.taproot_merkle_root = ROOT
    elif how == "other internal key":
        scope.taproot_internal_key = other
    elif how == "internal key of a p2wpkh":
        utxo = TransactionOutput(50_000, script.p2wpkh(key_of(ACCOUNT, (0, 0))))
        scope.witness_utxo, scope.non_witness_utxo = utxo, None
    elif how == "redeem script":
        scope.redeem_script = script.p2wpkh(key_of(ACCOUNT, (0, 0)))
    elif how == "witness script":
        scope.witness_script = script.Script(b"\x51")
    elif how == "unknown scripts":
        paid = script.Script(p2tr_script(ACCOUNT.public_key((0, 0)), ROOT))
        scope.witness_utxo, scope.non_witness_utxo = TransactionOutput(50_000, paid), None


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("none", "sighash type 0x2"),
        ("single", "sighash type 0x3"),
        ("anyonecanpay", "sighash type 0x81"),
        ("junk", "sighash type 0x100"),
        ("other root", "merkle root that is not its output's"),
        ("other internal key", "internal key that is not its own"),
        ("internal key of a p2wpkh", "internal key that is not its own"),
        ("redeem script", "redeem script that is not its key's"),
        ("witness script", "witness script, which P2TR does not take"),
        ("unknown scripts", "names a key of the account, but what it spends is not paid to this key alone"),
    ],
)
def test_a_psbt_that_lies_is_not_signed(how: str, says: str) -> None:
    payment = taproot(2)
    decoded(payment)
    lie(payment, how)
    with pytest.raises(PayloadError, match=says):
        decoded(payment)


def test_a_derivation_that_is_cut_off() -> None:
    psbt = Psbt.parse(taproot(1).bytes())
    (name,) = (key for key in psbt.inputs[0] if key[0] == 0x16)
    for origin, says in (
        (b"\5" + bytes(8), "announces 5 items"),
        (b"", "is cut off"),
        (b"\0" + bytes(7), "7 bytes"),
    ):
        psbt.inputs[0][name] = origin
        with pytest.raises(PayloadError, match=says):
            decode(PsbtTx(psbt.serialise()), ACCOUNT)


def test_a_key_in_scripts_is_not_the_internal_key() -> None:
    """Its derivation names a leaf: the input is somebody else's."""
    payment = Payment(ACCOUNT, [("p2tr", (0, 1), 50_000), ("p2tr", None, 40_000)], [(None, 80_000)])
    psbt = Psbt.parse(payment.bytes())
    name, origin = b"\x16" + ACCOUNT.public_key((0, 2))[1:], ACCOUNT.fingerprint + bytes(4) + b"\2\0\0\0"
    psbt.inputs[1][name] = b"\1" + ROOT + origin
    assert [due.input_index for due in decode(PsbtTx(psbt.serialise()), ACCOUNT).digests] == [0]
    psbt.inputs[1][name] = b"\0" + origin
    with pytest.raises(PayloadError, match="input 1 names a key of the account"):
        decode(PsbtTx(psbt.serialise()), ACCOUNT)


def test_a_signature_by_the_wrong_key_is_not_put_in() -> None:
    payment = taproot(2)
    payload, found = PsbtTx(payment.bytes()), decoded(payment)
    first, second = ACCOUNT.sign_all(found)
    for wrong in ((second, first), (first, ACCOUNT.sign((0, 1), found.digests[1].digest))):
        with pytest.raises(PayloadError, match="is not one by BIP-340"):
            finish(payload, found, wrong)
