from __future__ import annotations

import pytest
from embit import script
from embit.psbt import DerivationPath
from embit.transaction import TransactionOutput
from psbt_testing import ACCOUNT, HARDENED, MIXED, STRANGER, UNSIGNED, Payment, key_of, le, psbt_of, utxo

from participant.payloads import PayloadError, PsbtTx, decode
from participant.payloads.addresses import p2wpkh_script
from participant.payloads.decoded import Decoded

MOST = 21_000_000 * 10**8


def decoded(payment: Payment) -> Decoded:
    return decode(PsbtTx(payment.bytes()), ACCOUNT)


class OneKey:
    """`Keys` whose paths all lead to one key, and which remembers what it was asked."""

    key = ACCOUNT.public_key(())

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def public_key(self, path: tuple[int, ...]) -> bytes:
        self.asked.append(path)
        return self.key


def naming(*derivations: tuple[bytes, list[int]]) -> PsbtTx:
    """An input of ours that names these keys and paths."""
    fields = {b"\6" + key: bytes(4) + b"".join(map(le, path)) for key, path in derivations}
    return psbt_of(UNSIGNED, {b"\1": utxo(1000, p2wpkh_script(OneKey.key)), **fields})


def other_key(number: int) -> bytes:
    return b"\2" + number.to_bytes(32, "big")


def test_hardened_steps_lead_to_the_accounts_root() -> None:
    prefix = (HARDENED + 84, HARDENED, HARDENED)
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 5), 5000)], [((1, 1), 4000)], prefix=prefix)
    found = decoded(payment)
    assert found.digests[0].path == (0, 5)
    assert found.summary.outputs[0].path == (1, 1)


def test_a_derivation_that_leads_to_another_key_proves_nothing() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 5), 5000)], [(None, 4000)])
    scope = payment.psbt.inputs[0]
    (key,) = scope.bip32_derivations
    scope.bip32_derivations[key] = DerivationPath(ACCOUNT.fingerprint, [0, 6])
    with pytest.raises(PayloadError, match="no unsigned input"):
        decoded(payment)


def test_which_paths_are_derived() -> None:
    """Each once, behind the last hardened step, none that is too long or of a key in another form."""
    last = HARDENED - 1
    payload = naming(
        (other_key(1), [0] * 17),
        (b"\4" + bytes(64), [1]),
        (other_key(2), [0] * 16),
        (other_key(3), [HARDENED, 5, HARDENED, 2]),
        (other_key(4), [last]),
        (other_key(5), [HARDENED, last]),
        (other_key(6), []),
    )
    keys = OneKey()
    decode(payload, keys, (9,))
    assert keys.asked == [(9,), (0,) * 16, (2,), (last,), ()]


def test_a_derivation_of_no_steps_is_the_accounts_root() -> None:
    payload = naming((OneKey.key, []))
    assert decode(payload, ACCOUNT, (7,)).digests[0].path == ()
    with pytest.raises(PayloadError, match="no unsigned input of this PSBT"):
        decode(naming(), ACCOUNT, (7,))


def test_derivations_are_bounded() -> None:
    most = [(other_key(number), [number]) for number in range(2001)]
    decode(naming(*most[:2000]), OneKey())
    with pytest.raises(PayloadError, match="the PSBT names more than 2000 derivations"):
        decode(naming(*most), OneKey())


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_a_derivation_of_another_length(size: int) -> None:
    data = psbt_of(UNSIGNED, {b"\6" + OneKey.key: bytes(size)})
    with pytest.raises(PayloadError, match=f"input 0: a BIP-32 derivation of {size} bytes"):
        decode(data, ACCOUNT)


def test_change_must_be_derivable_to_count_as_ours() -> None:
    payment = Payment(ACCOUNT, MIXED, [((1, 0), 90_000), (None, 50_000)])
    first, second = payment.psbt.outputs
    second.bip32_derivations = dict(first.bip32_derivations)
    first.bip32_derivations.clear()
    summary = decode(PsbtTx(payment.bytes()), ACCOUNT).summary
    assert [o.path for o in summary.outputs] == [(1, 0), None]
    assert summary.spent == 60_000


def test_a_strangers_claimed_amount_makes_the_fee_unknown() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", None, 40_000), ("p2wpkh", (0, 1), 50_000)], [(None, 80_000)])
    assert decode(PsbtTx(payment.bytes()), ACCOUNT).summary.fee == 10_000
    payment.psbt.inputs[0].non_witness_utxo = None
    summary = decode(PsbtTx(payment.bytes()), ACCOUNT).summary
    assert summary.fee is None
    assert summary.spent == 50_000
    payment.psbt.inputs[0].witness_utxo = None
    assert decode(PsbtTx(payment.bytes()), ACCOUNT).summary.inputs[0].value is None


def test_an_input_may_be_worth_nothing() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 0), ("p2wpkh", (0, 2), 1000)], [(None, 900)])
    summary = decoded(payment).summary
    assert (summary.fee, summary.spent) == (100, 1000)


def test_change_is_not_counted_twice() -> None:
    """Two requests that each show one of our inputs as a stranger's may not both set the change off against theirs."""
    inputs = [("p2wpkh", (0, 1), 50_000), ("p2wpkh", (0, 2), 40_000)]
    payment = Payment(ACCOUNT, inputs, [(None, 49_000), ((1, 0), 40_000)])
    assert decoded(payment).summary.spent == 50_000
    total = 0
    for scope in payment.psbt.inputs:
        hidden, scope.bip32_derivations = scope.bip32_derivations, {}
        found = decoded(payment)
        scope.bip32_derivations = hidden
        assert len(found.digests) == 1
        assert [out.path for out in found.summary.outputs] == [None, (1, 0)]
        total += found.summary.spent
    assert total == 90_000


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
        scope.vout = 2
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
    elif how == "own redeem script":
        scope.redeem_script = script.p2wpkh(key_of(ACCOUNT, (0, 5)))
    elif how == "other redeem script":
        payment.psbt.inputs[2].redeem_script = script.p2wpkh(key_of(ACCOUNT, (0, 5)))
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
        ("no such output", "spends output 2, the previous transaction has none of that number"),
        ("none", "sighash type 0x2"),
        ("single", "sighash type 0x3"),
        ("anyonecanpay", "sighash type 0x81"),
        ("default", "sighash type 0x0"),
        ("all with junk", "sighash type 0x101"),
        ("redeem script", "input 0 has a redeem script that is not its key's"),
        ("own redeem script", "input 0 has a redeem script that is not its key's"),
        ("other redeem script", "input 2 has a redeem script that is not its key's"),
        ("witness script", "witness script, which P2WPKH does not take"),
        ("outputs exceed inputs", "the outputs pay 151000 satoshi, the inputs are worth 150000"),
        ("more than there is", "output 0 brings the total above 21 million"),
        ("overflow", "output 0 brings the total above 21 million"),
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
    shared = script.multisig(1, [key, key_of(STRANGER, ())])
    scope = payment.psbt.inputs[0]
    scope.non_witness_utxo.vout[scope.vout].script_pubkey = script.p2wsh(shared)
    scope.witness_utxo = scope.non_witness_utxo.vout[scope.vout]
    scope.txid = scope.non_witness_utxo.txid()
    with pytest.raises(
        PayloadError, match="input 0 names a key of the account, but what it spends"
    ) as refused:
        decoded(payment)
    assert refused.value.remedy.startswith("P2PKH, P2WPKH, P2SH-P2WPKH and P2TR are signed")


def test_a_sequence_of_zero_stays_zero() -> None:
    payment = Payment(ACCOUNT, [("p2wpkh", (0, 1), 50_000)], [(None, 49_000)], sequences=0xFFFFFFF0)
    data = payment.bytes()
    zero = data.replace(b"\0" + b"\xf0\xff\xff\xff", b"\0" + bytes(4), 1)
    assert zero != data
    found = decode(PsbtTx(zero), ACCOUNT)
    assert found.summary.inputs[0].sequence == 0
    assert found.digests != decode(PsbtTx(data), ACCOUNT).digests


ALL = [("p2wpkh", (0, 1), MOST)]


@pytest.mark.parametrize("proved", [True, False])
def test_all_the_money_at_once(*, proved: bool) -> None:
    payment = Payment(ACCOUNT, ALL, [(None, MOST - 5), (None, 5)])
    if not proved:
        payment.psbt.inputs[0].non_witness_utxo = None
    assert decoded(payment).summary.fee == 0


@pytest.mark.parametrize(
    ("inputs", "outputs", "claimed", "says"),
    [
        ([("p2wpkh", (0, 1), MOST + 1)], [1000], True, "input 0 claims more than"),
        ([("p2wpkh", (0, 1), MOST + 1)], [1000], False, "input 0 claims more than"),
        ([("p2pkh", (0, 1), MOST + 1)], [1000], False, "input 0 is worth more than"),
        ([*ALL, ("p2wpkh", (0, 2), 1)], [1000], False, "the inputs are worth more than"),
        (ALL, [MOST, 1], False, "output 1 brings the total above"),
        (ALL, [MOST + 1], False, "output 0 brings the total above"),
    ],
)
def test_amounts_above_all_money(
    inputs: list[tuple[str, tuple[int, ...], int]], outputs: list[int], says: str, *, claimed: bool
) -> None:
    payment = Payment(ACCOUNT, inputs, [(None, value) for value in outputs])
    if claimed:
        payment.psbt.inputs[0].non_witness_utxo = None
    with pytest.raises(PayloadError, match=f"^{says} 21 million bitcoin$"):
        decoded(payment)


def test_a_witness_utxo_is_one_output() -> None:
    data = psbt_of(UNSIGNED, {b"\1": utxo(1000, p2wpkh_script(OneKey.key)) + b"\0"})
    with pytest.raises(PayloadError, match=r"^input 0's witness_utxo has 1 trailing bytes$"):
        decode(data, ACCOUNT)
