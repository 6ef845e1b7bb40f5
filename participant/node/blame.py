"""What a peer's proven fault leaves behind: a mark that lasts until an operator clears it (security.md D8)."""

from __future__ import annotations

from collections.abc import Iterable

from participant.committee import Committee
from participant.node.membership import Membership
from participant.node.pools import Pools
from participant.node.stock import Stock
from participant.store import AuditRecord, Store
from tss.envelope import HOLDER, PartyId
from tss.errors import PeerFault


class Blame:
    """Marks peers. Blocking, for worker threads; what it did is durable when it returns."""

    def __init__(self, store: Store, stock: Stock, pools: Pools) -> None:
        self._store = store
        self._stock = stock
        self._pools = pools

    def mark(self, membership: Membership, faults: Iterable[PeerFault], sid: bytes | None) -> None:
        """Put every peer that is at fault into quarantine, with the evidence, and forget what was made with it.

        A signer set that session `sid` blocks is free again: it is known who cheated. Raises StoreError.
        """
        store = self._store
        named = [fault for fault in faults if fault.peer is not None]
        with store.transaction():
            for fault in named:
                identity, committee = _place_of(membership, fault)
                what = f"{fault.what} [{fault.check}]"
                store.quarantine.add(identity, committee.committee_id, what, evidence=fault.evidence)
                told = f"index {(fault.peer or 0) - 1}: {fault}"[:400]
                store.audit.append(AuditRecord("quarantine", "self", "quarantined", told, session=sid))
            if named and sid is not None and store.blocked.find(sid) is not None:
                store.blocked.lift(sid, "identified")
        for fault in named:
            identity, committee = _place_of(membership, fault)
            if identity in committee.identities:
                self._stock.drop_party(committee.committee_id, committee.point_of(identity))
        self._pools.drop_pairs()


def _place_of(membership: Membership, fault: PeerFault) -> tuple[bytes, Committee]:
    """Who is at fault, and the committee that it is marked in."""
    identity = membership.identities[PartyId(fault.role or HOLDER, fault.peer or 0)]
    return identity, membership.committee_of(identity)


def clear_marks(store: Store, identity: bytes, by: str, reason: str) -> int:
    """Lift all marks on a peer on an operator's word; how many there were. Raises StoreError."""
    with store.transaction():
        entries = [entry for entry in store.quarantine.entries() if entry.peer == identity]
        for entry in entries:
            store.quarantine.clear(entry.number, by)
        if entries:
            store.audit.append(AuditRecord("quarantine", by, "cleared", f"{identity.hex()}: {reason}"[:400]))
    return len(entries)


def lift_block(store: Store, sid: bytes, by: str, reason: str) -> bool:
    """Let a signer set work again on an operator's word; whether session `sid` blocked one. Raises StoreError."""
    with store.transaction():
        entry = store.blocked.find(sid)
        if entry is None:
            return False
        store.blocked.lift(sid, by)
        signers = tuple(point - 1 for point in entry.signers)
        store.audit.append(
            AuditRecord("blocked-set", by, "cleared", reason[:400], signers=signers, session=sid)
        )
    return True
