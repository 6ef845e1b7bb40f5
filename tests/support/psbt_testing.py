"""PSBTs for tests: whole payments built with embit, and containers put together by hand, field by field."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from embit import ec, script
from embit.psbt import PSBT, DerivationPath
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from embit.transaction import Witness as EmbitWitness
from payload_testing import TestAccount

from participant.payloads import PsbtTx
from participant.payloads.bitcoin_transaction import Transaction as OurTransaction
from participant.payloads.bitcoin_transaction import counted
from participant.payloads.psbt import MAGIC

HARDENED = 1 << 31
FORMS = {
    "p2pkh": script.p2pkh,
    "p2wpkh": script.p2wpkh,
    "p2sh-p2wpkh": lambda key: script.p2sh(script.p2wpkh(key)),
}
SCRIPTS = {**FORMS, "p2tr": script.p2tr}
ACCOUNT = TestAccount(b"\3" * 32)
STRANGER = TestAccount(b"\7" * 32)
MIXED = [("p2wpkh", (0, 5), 70_000), ("p2pkh", (0, 6), 50_000), ("p2sh-p2wpkh", (1, 2), 30_000)]
"""Inputs of a Payment."""


def key_of(account: TestAccount, path: tuple[int, ...]) -> ec.PublicKey:
    return ec.PublicKey.parse(account.public_key(path))


class Payment:
    """A PSBT of version 0 built with embit: inputs are (form, path or None for a stranger's, satoshi).

    The previous transactions have witnesses, as most have.
    """

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
        self.account = account
        parents, vin = [], []
        for form, path, value in inputs:
            key = key_of(STRANGER, (len(parents),)) if path is None else key_of(account, path)
            other = TransactionOutput(rng.randrange(10**8), script.p2wpkh(key_of(STRANGER, (99,))))
            place = rng.randrange(2)
            outs = [other, other]
            outs[place] = TransactionOutput(value, SCRIPTS[form](key))
            source = TransactionInput(rng.randbytes(32), rng.randrange(9), witness=EmbitWitness([b"w"]))
            parent = Transaction(2, [source], outs, 0)
            parents.append(parent)
            vin.append(TransactionInput(parent.txid(), place, sequence=sequences))
        vout = [
            TransactionOutput(
                value, script.p2wpkh(key_of(STRANGER, (50 + i,)) if path is None else key_of(account, path))
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
                if form == "p2tr":
                    scope.taproot_internal_key = ec.PublicKey.from_xonly(key.xonly())
                    scope.taproot_bip32_derivations[scope.taproot_internal_key] = ([], origin)
                    continue
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


# -- by hand ---------------------------------------------------------------------------------------------------------

Fields = Mapping[bytes, bytes | None]
"""A field that is None is left out."""


def le(number: int, size: int = 4) -> bytes:
    return number.to_bytes(size, "little")


UNSIGNED = bytes.fromhex("0200000001" + "ab" * 32 + "0000000000ffffffff01e8030000000000000000000000")
"""One input, one output of 1000 satoshi to an empty script."""
GLOBAL_2 = {b"\xfb": le(2), b"\2": le(2), b"\4": b"\1", b"\5": b"\1"}
INPUT_2 = {b"\x0e": b"\xab" * 32, b"\x0f": le(1)}
OUTPUT_2 = {b"\3": le(1000, 8), b"\4": b"\x51"}
"""What version 2 requires."""


def psbt_bytes(*maps: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """The container of these maps, as they are."""
    return MAGIC + b"".join(
        b"".join(counted(key) + counted(value) for key, value in fields if value is not None) + b"\0"
        for fields in maps
    )


def version_0(common: Fields = {}, given: Fields = {}, paid: Fields = {}) -> bytes:  # noqa: B006 - never changed
    """One input, one output."""
    return psbt_bytes({b"\0": UNSIGNED, **common}.items(), given.items(), paid.items())


def version_2(common: Fields = {}, given: Fields = {}, paid: Fields = {}) -> bytes:  # noqa: B006 - never changed
    """One input, one output; what is said here takes the place of what is required."""
    return psbt_bytes(
        {**GLOBAL_2, **common}.items(), {**INPUT_2, **given}.items(), {**OUTPUT_2, **paid}.items()
    )


def psbt_of(unsigned: bytes | str, *inputs: dict[bytes, bytes]) -> PsbtTx:
    """Version 0 with the fields of its inputs."""
    transaction = bytes.fromhex(unsigned) if isinstance(unsigned, str) else unsigned
    outputs = [{} for _ in OurTransaction.parse(transaction, "vector", segwit=False).outputs]
    return PsbtTx(psbt_bytes(*(fields.items() for fields in ({b"\0": transaction}, *inputs, *outputs))))


def utxo(value: int, script_pubkey: bytes) -> bytes:
    """The value of a witness_utxo."""
    return le(value, 8) + counted(script_pubkey)
