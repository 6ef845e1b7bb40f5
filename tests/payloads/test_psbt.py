from __future__ import annotations

import json
import random
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import ecdsa
import pytest
from embit import ec, script
from embit.finalizer import finalize_psbt
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from payload_testing import TestAccount

from participant.payloads import PayloadError, PsbtTx, Signature, bitcoin, decode, finish
from participant.payloads.addresses import p2pkh_script
from participant.payloads.bitcoin import BitcoinSummary, der
from participant.payloads.bitcoin_transaction import Cursor, SighashAll, compact_size
from participant.payloads.bitcoin_transaction import Transaction as OurTransaction
from participant.payloads.psbt import MAGIC, Psbt

VECTORS = json.loads(Path(__file__).with_name("psbt-vectors.json").read_text())
HARDENED = 1 << 31
FORMS = {
    "p2pkh": script.p2pkh,
    "p2wpkh": script.p2wpkh,
    "p2sh-p2wpkh": lambda key: script.p2sh(script.p2wpkh(key)),
}


def raw(vector: dict[str, Any]) -> bytes:
    return b64decode(vector["psbt"])


def key_of(account: TestAccount, path: tuple[int, ...]) -> ec.PublicKey:
    return ec.PublicKey.parse(account.public_key(path))


class Payment:
    """A PSBT of version 0 built with embit: inputs are (form, path or None for a stranger's, satoshi)."""

    def __init__(
        self,
        account: TestAccount,
        inputs: list[tuple[str, tuple[int, ...] | None, int]],
        outputs: list[tuple[tuple[int, ...] | None, int]],
        *,
        prefix: tuple[int, ...] = (),
        derivations: bool = True,
        sequences: int = 0xFFFFFFFD,
        seed: int = 0,
    ) -> None:
        rng = random.Random(seed)
        stranger = TestAccount(b"\7" * 32)
        self.account = account
        parents, vin = [], []
        for form, path, value in inputs:
            key = key_of(stranger, (len(parents),)) if path is None else key_of(account, path)
            other = TransactionOutput(rng.randrange(10**8), script.p2wpkh(key_of(stranger, (99,))))
            place = rng.randrange(2)
            outs = [other, other]
            outs[place] = TransactionOutput(value, FORMS[form](key))
            parent = Transaction(2, [TransactionInput(rng.randbytes(32), rng.randrange(9))], outs, 0)
            parents.append(parent)
            vin.append(TransactionInput(parent.txid(), place, sequence=sequences))
        vout = [
            TransactionOutput(
                value, script.p2wpkh(key_of(stranger, (50 + i,)) if path is None else key_of(account, path))
            )
            for i, (path, value) in enumerate(outputs)
        ]
        self.psbt = PSBT(Transaction(2, vin, vout, rng.randrange(800_000)))
        for scope, parent, (form, path, _) in zip(self.psbt.inputs, parents, inputs, strict=True):
            scope.non_witness_utxo = parent
            if form != "p2pkh":
                scope.witness_utxo = parent.vout[scope.vout]
            if path is not None and derivations:
                key = key_of(account, path)
                origin = DerivationPath(account.fingerprint, [*prefix, *path])
                scope.bip32_derivations[key] = origin
                if form == "p2sh-p2wpkh":
                    scope.redeem_script = script.p2wpkh(key)
        for out, (path, _) in zip(self.psbt.outputs, outputs, strict=True):
            if path is not None:
                out.bip32_derivations[key_of(account, path)] = DerivationPath(
                    account.fingerprint, [*prefix, *path]
                )

    def bytes(self) -> bytes:
        return self.psbt.serialize()


ACCOUNT = TestAccount(b"\3" * 32)
MIXED = [("p2wpkh", (0, 5), 70_000), ("p2pkh", (0, 6), 50_000), ("p2sh-p2wpkh", (1, 2), 30_000)]


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
    assert summary.spent == total - change
    assert [o.path for o in summary.outputs] == [None, (1, 7)]
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


def test_hardened_steps_lead_to_the_accounts_root() -> None:
    prefix = (HARDENED + 84, HARDENED, HARDENED)
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 5), 5000)], [((1, 1), 4000)], prefix=prefix)
    decoded = decode(PsbtTx(payment.bytes()), ACCOUNT)
    assert decoded.digests[0].path == (0, 5)
    assert decoded.summary.outputs[0].path == (1, 1)


def test_a_derivation_that_leads_to_another_key_proves_nothing() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 5), 5000)], [(None, 4000)])
    scope = payment.psbt.inputs[0]
    (key,) = scope.bip32_derivations
    scope.bip32_derivations[key] = DerivationPath(ACCOUNT.fingerprint, [0, 6])
    with pytest.raises(PayloadError, match="no unsigned input"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


def test_change_must_be_derivable_to_count_as_ours() -> None:
    payment = Payment(ACCOUNT, MIXED, [((1, 0), 90_000), (None, 50_000)])
    first, second = payment.psbt.outputs
    second.bip32_derivations = dict(first.bip32_derivations)
    first.bip32_derivations.clear()
    summary = decode(PsbtTx(payment.bytes()), ACCOUNT).summary
    assert [o.path for o in summary.outputs] == [(1, 0), None]
    assert summary.spent == 60_000


def test_strangers_inputs_are_left_to_their_owners() -> None:
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
    stranger = TestAccount(b"\7" * 32)
    partial.sign_with(ec.PrivateKey(stranger.private_key((0,))))
    theirs = finalize_psbt(PSBT.parse(partial.serialize()))
    check_with_foreign_eyes(payment.bytes(), theirs.serialize(), [0, 1, 2])
    second = PsbtTx(partial.serialize())
    ours = decode(second, stranger, (0,))
    finished = finish(second, ours, stranger.sign_all(ours))
    assert finished.raw_transaction is None, "two partial signatures of others are not ours to finalise"
    partial.inputs[1].final_scriptwitness = theirs.vin[1].witness
    partial.inputs[2].final_scriptwitness = theirs.vin[2].witness
    last = PsbtTx(partial.serialize())
    ours = decode(last, stranger, (0,))
    assert [due.input_index for due in ours.digests] == [0]
    assert finish(last, ours, stranger.sign_all(ours)).raw_transaction == theirs.serialize()


def test_a_strangers_claimed_amount_makes_the_fee_unknown() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", None, 40_000), ("p2wpkh", (0, 1), 50_000)], [(None, 80_000)])
    assert decode(PsbtTx(payment.bytes()), ACCOUNT).summary.fee == 10_000
    payment.psbt.inputs[0].non_witness_utxo = None
    summary = decode(PsbtTx(payment.bytes()), ACCOUNT).summary
    assert summary.fee is None
    assert summary.spent == 50_000
    payment.psbt.inputs[0].witness_utxo = None
    assert decode(PsbtTx(payment.bytes()), ACCOUNT).summary.inputs[0].value is None


def test_an_amount_that_only_one_field_claims() -> None:
    """With several inputs a lie about each in turn gives a valid transaction with an enormous fee; with one it cannot."""
    single = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000)], [(None, 49_000)])
    single.psbt.inputs[0].non_witness_utxo = None
    assert decode(PsbtTx(single.bytes()), ACCOUNT).summary.fee == 1000
    double = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000), ("p2wpkh", (0, 2), 50_000)], [(None, 99_000)])
    double.psbt.inputs[1].non_witness_utxo = None
    with pytest.raises(PayloadError, match="input 1 comes without its previous transaction"):
        decode(PsbtTx(double.bytes()), ACCOUNT)


def test_an_old_style_input_needs_its_previous_transaction() -> None:
    payment = Payment(ACCOUNT, [("p2pkh", (0, 1), 50_000)], [(None, 49_000)])
    scope = payment.psbt.inputs[0]
    scope.witness_utxo, scope.non_witness_utxo = scope.non_witness_utxo.vout[scope.vout], None
    with pytest.raises(PayloadError, match="input 0 comes without its previous transaction"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


def lie(payment: Payment, how: str) -> None:
    scope = payment.psbt.inputs[0]
    utxo = scope.witness_utxo
    if how == "witness_utxo differs":
        scope.witness_utxo = TransactionOutput(utxo.value - 1, utxo.script_pubkey)
    elif how == "other script claimed":
        scope.witness_utxo = TransactionOutput(utxo.value, script.p2wpkh(key_of(ACCOUNT, (9,))))
    elif how == "other parent":
        scope.non_witness_utxo.locktime += 1
    elif how == "no such output":
        payment.psbt.inputs[0].vout = 7
    elif how in {"none", "single", "anyonecanpay", "default", "all with junk"}:
        scope.sighash_type = {
            "none": 2,
            "single": 3,
            "anyonecanpay": 0x81,
            "default": 0,
            "all with junk": 0x101,
        }[how]
    elif how == "redeem script":
        scope.redeem_script = script.p2wpkh(key_of(ACCOUNT, (9,)))
    elif how == "witness script":
        scope.witness_script = script.Script(b"\x51")
    elif how == "outputs exceed inputs":
        payment.psbt.outputs[0].value = 151_000
    elif how == "more than there is":
        payment.psbt.outputs[0].value = 21_000_001 * 10**8
    elif how == "overflow":
        payment.psbt.outputs[0].value = (1 << 64) - 1
    elif how == "same output twice":
        payment.psbt.inputs[1].txid, payment.psbt.inputs[1].vout = scope.txid, scope.vout


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("witness_utxo differs", "somebody lies about an amount"),
        ("other script claimed", "somebody lies"),
        ("other parent", "is another one than the input names"),
        ("no such output", "has none of that number"),
        ("none", "sighash type 0x2"),
        ("single", "sighash type 0x3"),
        ("anyonecanpay", "sighash type 0x81"),
        ("default", "sighash type 0x0"),
        ("all with junk", "sighash type 0x101"),
        ("redeem script", "redeem script that is not its key's"),
        ("witness script", "witness script, which P2WPKH does not take"),
        ("outputs exceed inputs", "the outputs pay 151000 satoshi, the inputs are worth 150000"),
        ("more than there is", "21 million"),
        ("overflow", "21 million"),
        ("same output twice", "spends one output twice"),
    ],
)
def test_a_psbt_that_lies_is_not_signed(how: str, says: str) -> None:
    payment = Payment(ACCOUNT, MIXED, [(None, 149_000)])
    decode(PsbtTx(payment.bytes()), ACCOUNT)
    payment.psbt.inputs[0].sighash_type = 1
    decode(PsbtTx(payment.bytes()), ACCOUNT)
    lie(payment, how)
    with pytest.raises(PayloadError, match=says):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


def test_our_key_in_a_script_of_many_is_refused() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000), ("p2wpkh", (0, 2), 50_000)], [(None, 49_000)])
    key = key_of(ACCOUNT, (0, 1))
    shared = script.multisig(1, [key, key_of(TestAccount(b"\7" * 32), ())])
    scope = payment.psbt.inputs[0]
    scope.non_witness_utxo.vout[scope.vout].script_pubkey = script.p2wsh(shared)
    scope.witness_utxo = scope.non_witness_utxo.vout[scope.vout]
    scope.txid = scope.non_witness_utxo.txid()
    with pytest.raises(PayloadError, match="input 0 names a key of the account, but what it spends"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


def test_a_sequence_of_zero_stays_zero() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000)], [(None, 49_000)], sequences=0xFFFFFFF0)
    data = payment.bytes()
    zero = data.replace(b"\0" + b"\xf0\xff\xff\xff", b"\0" + bytes(4), 1)
    assert zero != data
    decoded = decode(PsbtTx(zero), ACCOUNT)
    assert decoded.summary.inputs[0].sequence == 0
    assert decoded.digests != decode(PsbtTx(data), ACCOUNT).digests


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


def test_bytes_base64_and_hex_are_the_same_psbt() -> None:
    data = Payment(ACCOUNT, MIXED, [(None, 149_000)]).bytes()
    text = PSBT.parse(data).to_base64()
    assert (
        PsbtTx.parse(data)
        == PsbtTx.parse(text)
        == PsbtTx.parse(text.encode() + b"\n")
        == PsbtTx.parse(data.hex())
    )
    for broken in ("", "!!", data.hex()[:-1], text[:-5], b"\xff\xfe", data[:-1], data + b"\0"):
        with pytest.raises(PayloadError):
            PsbtTx.parse(broken)


def test_unknown_fields_are_carried_along() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000)], [(None, 49_000)])
    # embit shares one default dict among all scopes, so each gets its own.
    payment.psbt.inputs[0].unknown = {b"\xfc\x05ours": b"kept"}
    payment.psbt.outputs[0].unknown = {b"\xfc\x05ours": b"kept too"}
    payload = PsbtTx(payment.bytes())
    decoded = decode(payload, ACCOUNT)
    done = finish(payload, decoded, ACCOUNT.sign_all(decoded)).psbt
    assert done is not None
    assert Psbt.parse(done).inputs[0][b"\xfc\x05ours"] == b"kept"
    assert Psbt.parse(done).outputs[0][b"\xfc\x05ours"] == b"kept too"


def psbt_of(unsigned: str, *inputs: dict[bytes, bytes]) -> PsbtTx:
    transaction = bytes.fromhex(unsigned)
    maps = [{b"\0": transaction}, *inputs]
    maps += [{} for _ in OurTransaction.parse(transaction, "vector", segwit=False).outputs]

    def field(content: bytes) -> bytes:
        return compact_size(len(content)) + content

    return PsbtTx(MAGIC + b"".join(b"".join(field(k) + field(v) for k, v in m.items()) + b"\0" for m in maps))


def utxo(value: int, script_hex: str) -> bytes:
    content = bytes.fromhex(script_hex)
    return value.to_bytes(8, "little") + bytes([len(content)]) + content


def test_p2sh_p2wpkh_example_of_bip_143() -> None:
    account = TestAccount(bytes.fromhex("eb696a065ef48a2192da5b28b694f87544b30fae8327c4510137a922f32c6dcf"))
    payload = psbt_of(
        "0100000001db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000000feffffff02b8b4eb0b000000"
        "001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8"
        "bd8ad6d77c88ac92040000",
        {b"\1": utxo(10 * 10**8, "a9144733f37cf4db86fbc2efed2500b4f4e49f31202387")},
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
    """Its second input is ours; the first is another's P2PK. The amount comes as a claim only, which two inputs forbid."""
    account = TestAccount(bytes.fromhex("619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9"))
    unsigned = (
        "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d182"
        "d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f"
        "85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
    )
    transaction = OurTransaction.parse(bytes.fromhex(unsigned), "vector", segwit=False)
    digest = SighashAll(transaction).segwit(1, p2pkh_script(account.public_key(())), 6 * 10**8)
    assert digest.hex() == "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"
    claim = {b"\1": utxo(6 * 10**8, "00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1")}
    with pytest.raises(PayloadError, match="input 1 comes without its previous transaction"):
        decode(psbt_of(unsigned, {}, claim), account)


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["case"])
def test_invalid_by_the_bips(vector: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        PsbtTx(raw(vector))


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["case"])
def test_valid_by_the_bips(vector: dict[str, Any]) -> None:
    """Read and written back byte for byte; those without inputs or outputs have nothing to sign and are refused so."""
    data = raw(vector)
    if "0 inputs" in vector["case"]:
        with pytest.raises(PayloadError, match="has nothing to sign"):
            Psbt.parse(data)
        return
    assert Psbt.parse(data).serialise() == data
    with pytest.raises(PayloadError, match="no unsigned input of this PSBT belongs"):
        decode(PsbtTx(data), ACCOUNT)


@pytest.mark.parametrize("vector", VECTORS["locktime"], ids=lambda v: v["case"])
def test_lock_times_of_bip_370(vector: dict[str, Any]) -> None:
    if vector["locktime"] is None:
        with pytest.raises(PayloadError, match="by height"):
            Psbt.parse(raw(vector))
    else:
        assert Psbt.parse(raw(vector)).transaction.locktime == vector["locktime"]


def test_der_is_what_ecdsa_writes() -> None:
    rng = random.Random(1)
    for bits in (1, 7, 8, 9, 247, 248, 255, 256):
        r, s = rng.getrandbits(bits) | 1 << (bits - 1), rng.getrandbits(bits) | 1 << (bits - 1)
        assert der(Signature(r, s, 0)) == ecdsa.util.sigencode_der(r, s, ecdsa.SECP256k1.order)


def test_too_many_inputs_are_refused_before_they_are_read() -> None:
    huge = (
        MAGIC + b"\1\xfb\4\2\0\0\0" + b"\1\2\4\2\0\0\0" + b"\1\4\5\xfe\xff\xff\xff\x7f" + b"\1\5\1\1" + b"\0"
    )
    with pytest.raises(PayloadError, match="2147483647 inputs"):
        Psbt.parse(huge)


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


def test_derivations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    payment = Payment(ACCOUNT, MIXED, [(None, 1000)])
    scope = payment.psbt.inputs[0]
    (key,) = scope.bip32_derivations
    scope.bip32_derivations[key] = DerivationPath(ACCOUNT.fingerprint, [0] * 17)
    ACCOUNT.asked.clear()
    decoded = decode(PsbtTx(payment.bytes()), ACCOUNT)
    assert [due.input_index for due in decoded.digests] == [1, 2]
    assert max(map(len, ACCOUNT.asked)) == 2, "a path that is too long is not derived"
    monkeypatch.setattr(bitcoin, "MAX_DERIVATIONS", 1)
    with pytest.raises(PayloadError, match="names more than 1 derivations"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_derivation_of_another_length(size: int) -> None:
    data = psbt_of(
        "0200000001" + "ab" * 32 + "0000000000ffffffff01e8030000000000000000000000",
        {b"\6" + ACCOUNT.public_key(()): bytes(size)},
    )
    with pytest.raises(PayloadError, match=f"input 0: a BIP-32 derivation of {size} bytes"):
        decode(data, ACCOUNT)


@pytest.mark.parametrize("where", ["claimed", "previous", "together"])
def test_amounts_above_all_money(where: str) -> None:
    most = 21_000_000 * 10**8
    inputs = {
        "previous": [("p2pkh", (0, 1), most + 1)],
        "together": [("p2wpkh", (0, i), most - 1) for i in (1, 2)],
    }
    payment = Payment(ACCOUNT, inputs.get(where, [("p2wpkh", (0, 1), most + 1)]), [(None, 1000)])
    if where == "claimed":
        payment.psbt.inputs[0].non_witness_utxo = None
    with pytest.raises(PayloadError, match="more than 21 million"):
        decode(PsbtTx(payment.bytes()), ACCOUNT)


def test_sizes_and_fields_of_the_container() -> None:
    with pytest.raises(PayloadError, match="at most 2097152"):
        PsbtTx(MAGIC + bytes(2 * 1024 * 1024))
    two = b"\1\xfb\4\2\0\0\0" + b"\1\2\4\2\0\0\0" + b"\1\4\1\1" + b"\1\5\1\1" + b"\0"
    out = b"\1\3\x08" + bytes(8) + b"\1\4\0" + b"\0"
    vout = b"\1\x0f\4" + bytes(4)
    Psbt.parse(MAGIC + two + b"\1\x0e\x20" + bytes(32) + vout + b"\0" + out)
    with pytest.raises(PayloadError, match="previous txid has 31 bytes"):
        Psbt.parse(MAGIC + two + b"\1\x0e\x1f" + bytes(31) + vout + b"\0" + out)
    with pytest.raises(PayloadError, match="output index has 3 bytes, 4 are due"):
        Psbt.parse(MAGIC + two + b"\1\x0e\x20" + bytes(32) + b"\1\x0f\3" + bytes(3) + b"\0" + out)
    with pytest.raises(PayloadError, match="PSBT version 1 is unknown"):
        Psbt.parse(MAGIC + b"\1\xfb\4\1\0\0\0" + b"\0")
    with pytest.raises(PayloadError, match="marker of witnesses and none"):
        OurTransaction.parse(
            bytes.fromhex("02000000000101" + "ab" * 32 + "0000000000ffffffff000000000000"),
            "x",
            segwit=True,
        )
    for number in (0, 252, 253, 65535, 65536, 2**32 - 1, 2**32):
        assert Cursor(compact_size(number), "x").compact() == number
    for longer in (b"\xfd\xfc\0", b"\xfe\xff\xff\0\0", b"\xff\xff\xff\xff\xff\0\0\0\0"):
        with pytest.raises(PayloadError, match="longer form"):
            Cursor(longer, "x").compact()
    with pytest.raises(PayloadError, match="has no CompactSize"):
        compact_size(1 << 64)
