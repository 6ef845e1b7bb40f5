"""Signing PSBTs: which inputs are the account's, what they spend, their SIGHASH_ALL digests, and the signed transaction.

An input is ours when its scriptPubKey is P2PKH, P2WPKH, P2SH-P2WPKH or P2TR of a key of the account: the key at the
request's path, or at a path that the PSBT names and that derives to the key it names. What the PSBT merely claims is
checked: a previous transaction against its txid, an amount against the previous transaction, or, where all of our inputs
are P2TR, by the signature itself, which covers the amounts and scripts of all inputs (BIP-341).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from participant.payloads import psbt as container
from participant.payloads.addresses import (
    MAINNET,
    BitcoinNetwork,
    address_of_script,
    p2pkh_script,
    p2wpkh_script,
)
from participant.payloads.bitcoin_keys import P2PKH, P2SH_P2WPKH, P2TR, P2WPKH, Finder, Ours
from participant.payloads.bitcoin_transaction import (
    MAX_MONEY,
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    Cursor,
    SighashAll,
    Transaction,
    TxOut,
    counted,
)
from participant.payloads.decoded import (
    Decoded,
    DigestToSign,
    Finished,
    Keys,
    Path,
    Signature,
    check_signatures,
    halves,
)
from participant.payloads.errors import PayloadError
from participant.payloads.psbt import Map, Psbt, get
from tss.frost.bip340 import Tweaks

MAX_SIGNED_INPUTS: Final = 100
"""Each one is a signature of the threshold protocol."""


@dataclass(frozen=True)
class BitcoinInput:
    """An input. `txid` as explorers show it; `value` in satoshi, None if the PSBT does not tell.

    `path`: of our key that it is signed with, None for an input that is not ours. `proved`: the value was found in the
    previous transaction itself, or a wrong one would make the signature void; always so for our inputs.
    """

    txid: str
    vout: int
    sequence: int
    value: int | None
    script: bytes | None
    proved: bool
    path: Path | None


@dataclass(frozen=True)
class BitcoinOutput:
    """An output. `path`: of the account's key that it pays back to (change), None if it pays anybody else."""

    value: int
    script: bytes
    path: Path | None

    def address(self, network: BitcoinNetwork = MAINNET) -> str | None:
        """Its address; None for a script without one."""
        return address_of_script(self.script, network)


@dataclass(frozen=True)
class BitcoinSummary:
    """What a policy may judge; amounts in satoshi."""

    version: int
    locktime: int
    inputs: tuple[BitcoinInput, ...]
    outputs: tuple[BitcoinOutput, ...]

    @property
    def fee(self) -> int | None:
        """Inputs less outputs; None while a foreign input's value is unknown or only claimed."""
        if not all(i.proved for i in self.inputs):
            return None
        return sum(i.value or 0 for i in self.inputs) - sum(o.value for o in self.outputs)

    @property
    def spent(self) -> int:
        """What leaves the account at most, fee included: our inputs less what comes back. Always proved.

        Beside inputs that are not ours nothing counts as coming back: the request may hide that one of them is ours, and
        another request the other one, and each would set the same change off against its own.
        """
        ours = sum(i.value or 0 for i in self.inputs if i.path is not None)
        if any(i.path is None for i in self.inputs):
            return ours
        return ours - sum(o.value for o in self.outputs if o.path is not None)


def decode(data: bytes, keys: Keys, path: Path = ()) -> Decoded:
    """Every input of ours as a digest to sign, in the order of the inputs. Raises PayloadError."""
    psbt = Psbt.parse(data)
    finder = Finder(keys, path)
    transaction = psbt.transaction
    _check_transaction(transaction)
    sighash = SighashAll(transaction)
    # All names first: one key may unlock several inputs, and only one of them may tell its path.
    named = [
        _names(finder, fields, container.IN_BIP32_DERIVATION, container.IN_TAP_BIP32_DERIVATION, f"input {i}")
        for i, fields in enumerate(psbt.inputs)
    ]
    for index, fields in enumerate(psbt.outputs):
        _names(
            finder,
            fields,
            container.OUT_BIP32_DERIVATION,
            container.OUT_TAP_BIP32_DERIVATION,
            f"output {index}",
        )
    found = [_spent(transaction, index, fields) for index, fields in enumerate(psbt.inputs)]
    scripts = [out.script for out in (*(spent for spent, _ in found if spent), *transaction.outputs)]
    if any(map(_is_taproot, scripts)):
        finder.know_taproot()
    owned = [
        None if spent is None else finder.find(spent.script, fields)
        for (spent, _), fields in zip(found, psbt.inputs, strict=True)
    ]
    # What such a signature is made for can have no other amounts, whoever's the inputs are.
    binds = _binds_all(psbt.inputs, owned)
    inputs, digests = [], []
    for index, fields in enumerate(psbt.inputs):
        (spent, proved), ours = found[index], owned[index]
        proved = proved or (binds and spent is not None)
        if ours is None and named[index]:
            raise PayloadError(
                f"input {index} names a key of the account, but what it spends is not paid to this key alone",
                f"{P2PKH}, {P2WPKH}, {P2SH_P2WPKH} and {P2TR} are signed, and the spent output must be in the PSBT",
            )
        if ours is not None and spent is not None:
            _check_ours(fields, ours, index)
            # BIP-143 signs the amount of its own input only: with two inputs a lie in each of two signings makes a
            # valid transaction whose fee nobody saw. With a single one a lie makes the signature void.
            proved = proved or (len(psbt.inputs) == 1 and ours.form != P2PKH)
            if not proved:
                raise PayloadError(
                    f"input {index} comes without its previous transaction (non_witness_utxo)",
                    "add it: the claimed amount cannot be checked without",
                )
            if not _is_final(fields):
                digests.append(_due(sighash, index, fields, ours, [out for out, _ in found]))
                # Here, since each digest of the older kind hashes the whole transaction.
                if len(digests) > MAX_SIGNED_INPUTS:
                    raise PayloadError(
                        f"{len(digests)} inputs to sign, at most {MAX_SIGNED_INPUTS} are taken",
                        "split the payment",
                    )
        inputs.append(_summary_of(transaction, index, spent, ours, proved=proved))
    if not digests:
        raise PayloadError(
            "no unsigned input of this PSBT belongs to the account's key",
            "give the path, or put the BIP-32 derivation of the key into the PSBT's inputs",
        )
    outputs = tuple(BitcoinOutput(o.value, o.script, finder.path_of(o.script)) for o in transaction.outputs)
    summary = BitcoinSummary(transaction.version, transaction.locktime, tuple(inputs), outputs)
    _check_amounts(summary)
    return Decoded(tuple(digests), summary)


def finish(data: bytes, decoded: Decoded, signatures: tuple[Signature, ...]) -> Finished:
    """Put the signatures in, in the order of `decoded.digests`.

    When that completes every input, they are finalised and the raw transaction is extracted; else the PSBT comes back
    with our partial signatures for the next signer. Raises PayloadError for a signature that does not fit.
    """
    check_signatures(decoded.digests, signatures)
    psbt = Psbt.parse(data)
    inputs = list(psbt.inputs)
    for due, signature in zip(decoded.digests, signatures, strict=True):
        index = due.input_index
        if index is None:
            raise PayloadError("these digests are not of a PSBT")
        inputs[index] = {**inputs[index], **_signature_field(inputs[index], due, signature)}
    signed = replace(psbt, globals=container.modifiable_cleared(psbt.globals), inputs=inputs)
    ours = {due.input_index: due for due in decoded.digests}
    if not all(index in ours or _is_final(fields) for index, fields in enumerate(inputs)):
        return Finished(psbt=signed.serialise())
    finals = [
        _finalised(fields, ours[index], _spent(psbt.transaction, index, fields)[0])
        if index in ours
        else fields
        for index, fields in enumerate(inputs)
    ]
    final = replace(signed, inputs=finals)
    return Finished(raw_transaction=_extract(final), psbt=final.serialise())


def der(signature: Signature) -> bytes:
    """Strict DER (BIP-66) without the sighash byte."""

    def integer(number: int) -> bytes:
        content = number.to_bytes(number.bit_length() // 8 + 1, "big")
        return bytes([2, len(content)]) + content

    body = integer(signature.r) + integer(signature.s)
    return bytes([0x30, len(body)]) + body


def _check_transaction(transaction: Transaction) -> None:
    outpoints = [i.outpoint for i in transaction.inputs]
    if len(set(outpoints)) != len(outpoints):
        raise PayloadError("the transaction spends one output twice")
    total = 0
    for index, out in enumerate(transaction.outputs):
        total += out.value
        if total > MAX_MONEY:
            raise PayloadError(f"output {index} brings the total above 21 million bitcoin")


def _check_amounts(summary: BitcoinSummary) -> None:
    """The sums that follow from the values; a fee below zero is a payment of money that is not there."""
    values = [i.value for i in summary.inputs if i.value is not None]
    if len(values) == len(summary.inputs):
        paid = sum(o.value for o in summary.outputs)
        given = sum(values)
        if given > MAX_MONEY:
            raise PayloadError("the inputs are worth more than 21 million bitcoin")
        if given < paid:
            raise PayloadError(f"the outputs pay {paid} satoshi, the inputs are worth {given}")


def _spent(transaction: Transaction, index: int, fields: Map) -> tuple[TxOut | None, bool]:
    """The output that an input spends, and whether the previous transaction itself was there to prove it."""
    claimed = get(fields, container.IN_WITNESS_UTXO)
    out = None
    if claimed is not None:
        cursor = Cursor(claimed, f"input {index}'s witness_utxo")
        out = TxOut(cursor.number(8), cursor.counted())
        cursor.finish()
        if out.value > MAX_MONEY:
            raise PayloadError(f"input {index} claims more than 21 million bitcoin")
    previous = get(fields, container.IN_NON_WITNESS_UTXO)
    if previous is None:
        return out, False
    source = transaction.inputs[index]
    parent = Transaction.parse(previous, f"input {index}'s previous transaction", segwit=True)
    if parent.txid() != source.txid:
        raise PayloadError(f"input {index}'s previous transaction is another one than the input names")
    if source.vout >= len(parent.outputs):
        raise PayloadError(
            f"input {index} spends output {source.vout}, the previous transaction has none of that number"
        )
    true = parent.outputs[source.vout]
    if out is not None and out != true:
        raise PayloadError(
            f"input {index}'s witness_utxo says {out.value} satoshi to {out.script.hex()[:80]}, "
            f"the previous transaction {true.value} to {true.script.hex()[:80]}",
            "do not sign this: somebody lies about an amount",
        )
    if true.value > MAX_MONEY:
        raise PayloadError(f"input {index} is worth more than 21 million bitcoin")
    return true, True


def sighash_type(fields: Map, *, taproot: bool) -> int:
    """What an input of ours is signed with, as far as `_check_ours` lets it pass."""
    kind = get(fields, container.IN_SIGHASH_TYPE)
    if kind is None:
        return SIGHASH_DEFAULT if taproot else SIGHASH_ALL
    return int.from_bytes(kind, "little")


def _names(finder: Finder, fields: Map, kind: int, taproot: int, where: str) -> bool:
    """Whether a map names a key of the account. Raises PayloadError."""
    found = [finder.take_in(fields, each, where) for each in (kind, taproot)]
    return any(found)


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script.startswith(b"\x51\x20")


def _binds_all(inputs: Sequence[Map], owned: Sequence[Ours | None]) -> bool:
    """Whether every signature of ours in this transaction covers what all inputs spend, and one is made now."""
    ours = [(fields, one) for fields, one in zip(inputs, owned, strict=True) if one is not None]
    return all(one.form == P2TR for _, one in ours) and any(not _is_final(fields) for fields, _ in ours)


def _due(
    sighash: SighashAll, index: int, fields: Map, ours: Ours, spent: Sequence[TxOut | None]
) -> DigestToSign:
    """What signs an input of ours. Raises PayloadError."""
    out = spent[index]
    if ours.form != P2TR and out is not None:
        code = p2pkh_script(ours.public_key)
        digest = sighash.legacy(index, code) if ours.form == P2PKH else sighash.segwit(index, code, out.value)
        return DigestToSign(digest, ours.path, ours.public_key, index)
    known = [one for one in spent if one is not None]
    if len(known) != len(spent):
        raise PayloadError(
            f"input {spent.index(None)} comes without what it spends, which a signature of {P2TR} covers",
            "add its witness_utxo",
        )
    digest = sighash.taproot(index, known, sighash_type(fields, taproot=True))
    tweaks = Tweaks(ours.path, ours.merkle_root)
    return DigestToSign(digest, ours.path, ours.public_key, index, message=digest, tweaks=tweaks)


def _signature_field(fields: Map, due: DigestToSign, signature: Signature) -> Map:
    if due.tweaks is None:
        key = bytes([container.IN_PARTIAL_SIG]) + due.public_key
        return {key: der(signature) + bytes([SIGHASH_ALL])}
    return {
        bytes([container.IN_TAP_KEY_SIG]): taproot_signature(signature, sighash_type(fields, taproot=True))
    }


def taproot_signature(signature: Signature, kind: int) -> bytes:
    """64 bytes, and the sighash byte unless it is SIGHASH_DEFAULT (BIP-341)."""
    return halves(signature) + (b"" if kind == SIGHASH_DEFAULT else bytes([kind]))


def _check_ours(fields: Map, ours: Ours, index: int) -> None:
    kind = get(fields, container.IN_SIGHASH_TYPE)
    allowed = (SIGHASH_ALL, SIGHASH_DEFAULT) if ours.form == P2TR else (SIGHASH_ALL,)
    if kind is not None and kind not in [one.to_bytes(4, "little") for one in allowed]:
        raise PayloadError(
            f"input {index} asks for sighash type 0x{int.from_bytes(kind, 'little'):x}",
            "only SIGHASH_ALL (1) is signed: with any other type parts of the transaction could be changed afterwards",
        )
    _check_taproot_fields(fields, ours, index)
    redeem = get(fields, container.IN_REDEEM_SCRIPT)
    if redeem is not None and (ours.form != P2SH_P2WPKH or redeem != p2wpkh_script(ours.public_key)):
        raise PayloadError(f"input {index} has a redeem script that is not its key's")
    if get(fields, container.IN_WITNESS_SCRIPT) is not None:
        raise PayloadError(f"input {index} has a witness script, which {ours.form} does not take")


def _check_taproot_fields(fields: Map, ours: Ours, index: int) -> None:
    """What BIP-371's fields say of an input of ours, if anything."""
    internal, root = (
        get(fields, kind) for kind in (container.IN_TAP_INTERNAL_KEY, container.IN_TAP_MERKLE_ROOT)
    )
    if internal is not None and (ours.form != P2TR or internal != ours.public_key[1:]):
        raise PayloadError(f"input {index} has an internal key that is not its own")
    if root is not None and root != (ours.merkle_root or None):
        raise PayloadError(f"input {index} has a merkle root that is not its output's")


def _summary_of(
    transaction: Transaction, index: int, spent: TxOut | None, ours: Ours | None, *, proved: bool
) -> BitcoinInput:
    source = transaction.inputs[index]
    return BitcoinInput(
        txid=source.txid[::-1].hex(),
        vout=source.vout,
        sequence=source.sequence,
        value=None if spent is None else spent.value,
        script=None if spent is None else spent.script,
        proved=proved,
        path=None if ours is None else ours.path,
    )


def _is_final(fields: Map) -> bool:
    return any(
        get(fields, kind) is not None
        for kind in (container.IN_FINAL_SCRIPTSIG, container.IN_FINAL_SCRIPTWITNESS)
    )


def _finalised(fields: Map, due: DigestToSign, spent: TxOut | None) -> Map:
    """The input with its final scripts; of the rest only what spent, the transaction itself and unknown fields stay."""
    dropped = {
        *range(container.IN_TAP_KEY_SIG, container.IN_TAP_MERKLE_ROOT + 1),
        container.IN_PARTIAL_SIG,
        container.IN_SIGHASH_TYPE,
        container.IN_REDEEM_SCRIPT,
        container.IN_WITNESS_SCRIPT,
        container.IN_BIP32_DERIVATION,
    }
    kept = {key: value for key, value in fields.items() if key[0] not in dropped}
    final_sig, final_witness = (
        bytes([container.IN_FINAL_SCRIPTSIG]),
        bytes([container.IN_FINAL_SCRIPTWITNESS]),
    )
    if due.tweaks is not None:
        return {**kept, final_witness: container.witness_stack((fields[bytes([container.IN_TAP_KEY_SIG])],))}
    public_key = due.public_key
    signature = fields[bytes([container.IN_PARTIAL_SIG]) + public_key]
    script = None if spent is None else spent.script
    if script == p2pkh_script(public_key):
        return {**kept, final_sig: counted(signature) + counted(public_key)}
    kept[final_witness] = container.witness_stack((signature, public_key))
    if script != p2wpkh_script(public_key):
        kept[final_sig] = counted(p2wpkh_script(public_key))
    return kept


def _extract(psbt: Psbt) -> bytes:
    inputs = []
    for index, (source, fields) in enumerate(zip(psbt.transaction.inputs, psbt.inputs, strict=True)):
        witness = get(fields, container.IN_FINAL_SCRIPTWITNESS)
        inputs.append(
            replace(
                source,
                script_sig=get(fields, container.IN_FINAL_SCRIPTSIG) or b"",
                witness=()
                if witness is None
                else container.read_witness_stack(witness, f"input {index}'s witness"),
            )
        )
    return replace(psbt.transaction, inputs=tuple(inputs)).serialise()
