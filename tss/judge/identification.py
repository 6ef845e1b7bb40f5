"""Failed nonce and failed chi (protocol.md 4.2): a third party repeats (i) to (iii)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from tss.cggmp24 import identify_checks, presign_checks
from tss.cggmp24.identify_checks import ROUND, Case, Opened
from tss.cggmp24.presign_checks import CHI, DELTA, Presigned
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import PeerFault
from tss.judge.presign import nonce_point, presigned
from tss.judge.reader import Needs, Step
from tss.judge.record import NotProven, Record

OPENING, ITEM, MASK = "open", "item", "aff-g*"
"""What the end of a check's id begins with, for (i) and (ii); anything else is (iii)."""


def _about(record_check: str) -> str:
    """The end of presign.abort-delta.item0.<end>."""
    return record_check.split(".", 3)[3] if record_check.count(".") >= 3 else ""


def _check(name: str, record: Record) -> None:
    """As far as the claim goes: for (i) the openings of the accused, for (ii) its proofs too, for (iii) everybody's."""
    signing, accused, about = presigned(record), record.accused, _about(record.claim.check)
    value = record.said(ROUND)
    k = int(value[0])
    items2 = record.said(2)
    if about == OPENING and k < len(items2):
        at = f"presign.abort-{name}.item{k}"
        identify_checks.check_opening(signing, at, accused, items2[k][2], value)
        return
    case = _case(record, signing, name, {accused: items2})
    opened = identify_checks.check_openings(case, accused, value)
    if about == ITEM:
        return
    _check_masks(case, accused, opened, value)
    if about.startswith(MASK):
        return
    _check_sum(record, signing, case, opened, value)


def _case(record: Record, signing: Presigned, name: str, items2: Mapping[PartyId, Value]) -> Case:
    """The lowest item whose outputs do not fit together, from what everybody sent in round 3.

    `items2`: round 2 of all, or of the accused alone where Gamma is not needed. Raises NotProven.
    """
    items3 = {party: value[0] for party, value in record.broadcasts(3).items()}
    outputs = [
        {party: items[k] for party, items in items3.items()} for k in range(len(items3[record.accused]))
    ]
    failed = [presign_checks.failed(signing, list(round3.values())) for round3 in outputs]
    k = next((k for k, name_ in enumerate(failed) if name_ is not None), None)
    if k is None or failed[k] != name:
        raise NotProven(f"it is not {name} that failed: there is nothing of this kind to identify")
    K = {party: items[k][0] for party, items in record.broadcasts(1).items()}
    for party, ciphertext in K.items():
        signing.key(party).check_ciphertext(ciphertext, "K")
    return Case(
        signing, k, name, K,
        Gamma_j={party: items[k][0] for party, items in items2.items()},
        Gamma=nonce_point(record, items2, k),
        hashes={party: items[k][2] for party, items in items2.items()},
        round3=outputs[k],
    )  # fmt: skip


def _check_masks(case: Case, sender: PartyId, opened: Opened, value: Value) -> None:
    for recipient in case.signing.recipients(sender):
        identify_checks.check_mask(case, sender, recipient, opened[recipient], value)


def _check_sum(record: Record, signing: Presigned, case: Case, opened: Opened, value: Value) -> None:
    """(iii), once nobody is blamed in (i) and (ii).

    What the others open is bound by the hashes of round 2, which the accused's echo lists: it need not have seen it.
    """
    items2 = record.broadcasts(2)
    whole = _case(record, signing, case.name, items2)
    all_opened = {record.accused: opened}
    for party in record.ctx.parties:
        if party != record.accused:
            said = record.own_word(party, ROUND)
            all_opened[party] = _sound(party, partial(identify_checks.check_openings, whole, party, said))
            _sound(party, partial(_check_masks, whole, party, all_opened[party], said))
    identify_checks.check_dec(whole, record.accused, all_opened, value)


def _sound(party: PartyId, check: Callable[[], Value]) -> Value:
    """What somebody else's step (i) or (ii) gives; its own fault comes before any of step (iii). Raises NotProven."""
    try:
        return check()
    except PeerFault as fault:
        raise NotProven(f"party {party.index} fails before the accused does: {fault.what}") from None


def _needs(check: str) -> Needs:
    about = _about(check)
    if about == OPENING:
        return Needs(own=frozenset({2, ROUND}))
    if about == ITEM or about.startswith(MASK):
        return Needs(own=frozenset({1, 2, 3, ROUND}), context=frozenset({1, 3}))
    return Needs(own=frozenset({1, 2, 3, ROUND}), context=frozenset({1, 2, 3, ROUND}))


STEPS: Final = {f"abort-{name}": Step(partial(_check, name), "4.2", _needs) for name in (DELTA, CHI)}
