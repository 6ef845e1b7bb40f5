"""What comes after a resharing's certificate (protocol.md 2.3): old shares are destroyed, and everybody learns that they are.

A holder of the certificate that held a share in the old committee destroys it and says so, signed. The words go to the
parties of the resharing in their own room, and to the old committee in its room, where a member that was away finds t of
them when it comes back, and then destroys its share, too. Blocking, for worker threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from participant.committee import Committee
from participant.identity import NodeKeys
from participant.node.destroyed import Word, read, write
from participant.node.requests import reshare_requests
from participant.reshare_request import ReshareRequest
from participant.store import AuditRecord, Store
from participant.store.resharings import MovedAccount
from tss.cggmp24.completion import DONE_ROUND
from tss.cggmp24.reshare import NEW
from tss.encoding import Bytes, NoValue, Tuple, decode
from tss.envelope import Kind, PartyId, unpack_broadcast, verify_signature
from tss.errors import SchemaViolation
from tss.params import Suite

log = logging.getLogger(__name__)

MAX_RUNS: Final = 8
"""Runs of one request whose certificates are gathered at a time."""


class Revocation:
    """The durable part of it: certificates, destroyed shares, words."""

    def __init__(
        self,
        store: Store,
        suites: Mapping[str, Suite],
        keys: NodeKeys,
        destroyed: Callable[[str], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`destroyed` is called, in the worker thread, with an account whose share this node has destroyed."""
        self._store = store
        self._requests = reshare_requests(store, suites)
        self._keys = keys
        self._destroyed = destroyed
        self._wall = wall
        self._said: dict[bytes, dict[bytes, dict[PartyId, bytes]]] = {}
        """Done envelopes by request, run and new holder, where this node holds no pending state."""

    # The certificate

    def certified(self, request_id: bytes, sid: bytes, envelopes: Sequence[bytes]) -> None:
        """The account is the new committee's: keep what shows it, and destroy this node's old share."""
        self._store.resharings.certify(request_id, sid, tuple(envelopes))
        self._said.pop(request_id, None)
        self.settle()

    def take_done(self, request_id: bytes, envelope: bytes) -> bool:
        """One new holder's done; whether the certificate is complete by it. For nodes that are no new holders.

        The new holders are those that the operator approved. All of them have to say the same of one run.
        """
        request = self._requests.get(request_id)
        if request is None or self._store.resharings.certificate(request_id) is not None:
            return False
        body, encoded, signature = unpack_broadcast(envelope)
        identity = request.seats.get(body.sender)
        due = (body.proto, body.round, body.kind, body.sender.role)
        if due != (request.suite.proto, DONE_ROUND, Kind.DONE, NEW) or identity is None:
            return False
        if not verify_signature(identity, encoded, signature):
            return False
        runs = self._said.setdefault(request_id, {})
        if body.sid not in runs and len(runs) >= MAX_RUNS:
            runs.pop(next(iter(runs)))
        said = runs.setdefault(body.sid, {})
        said.setdefault(body.sender, envelope)
        results = {_result(known) for known in said.values()}
        if len(said) < request.new.n or len(results) != 1 or None in results:
            return False
        self.certified(request_id, body.sid, [said[party] for party in sorted(said)])
        return True

    # Destroying

    def settle(self) -> None:
        """Destroy what certificates say is another committee's by now. Idempotent, so that it goes on after a crash."""
        for request in self._requests.open():
            if self._store.resharings.certificate(request.request_id) is None:
                continue
            if self._keys.identity in request.old.identities:
                self._destroy(
                    MovedAccount(
                        *(request.terms.key_id, request.account_id, request.old.committee_id),
                        *(request.new.committee_id, request.request_id, request.terms.share_epoch),
                    ),
                    request.old,
                )

    def _destroy(self, moved: MovedAccount, old: Committee) -> None:
        store, point = self._store, old.point_of(self._keys.identity)
        if point in store.resharings.words(moved.key_id):
            return
        with store.transaction():
            new = store.resharings.destroy(moved)
            store.resharings.add_word(moved.key_id, point, write(moved, self._keys, int(self._wall())))
            if new:
                where = f"it went to committee {moved.new_committee_id.hex()}"
                store.audit.append(
                    AuditRecord("reshare", "self", "share destroyed", where, account=moved.account_id)
                )
        store.resharings.truncate_log()
        log.warning(
            "account %r went to another committee: this node's old share is destroyed", moved.account_id
        )
        self._destroyed(moved.account_id)

    # Words

    def take_words(self, old: Committee, words: Sequence[bytes]) -> tuple[bool, list[bytes]]:
        """Old holders' words, as they came. A share that t of them revoke is destroyed.

        Gives whether there was anything new, and the keys whose shares this node has destroyed because of it.
        """
        news, about = False, set()
        for encoded in words:
            try:
                word = read(encoded)
            except SchemaViolation:
                continue
            if word.committee_id != old.committee_id or word.identity not in old.identities:
                continue
            if self._concerns(word):
                point = old.point_of(word.identity)
                news = self._store.resharings.add_word(word.key_id, point, encoded) or news
                about.add(word.key_id)
        return news, [key_id for key_id in sorted(about) if self._follow(old, key_id)]

    def _concerns(self, word: Word) -> bool:
        """Whether this node keeps words about the key: it holds a share, held one, or its operator approved the move."""
        if self._store.resharings.moved(word.key_id) is not None:
            return True
        request = self._requests.get(word.request_id)
        if request is not None and request.terms.key_id == word.key_id:
            return True
        return any(
            record.key_id == word.key_id for record in self._store.accounts.accounts(word.committee_id)
        )

    def _follow(self, old: Committee, key_id: bytes) -> bool:
        found = [r for r in self._store.accounts.accounts(old.committee_id) if r.key_id == key_id]
        if not found:
            return False
        (record,) = found
        words = [read(word) for word in self._store.resharings.words(key_id).values()]
        by_move: dict[tuple[bytes, bytes], int] = {}
        for word in words:
            move = (word.request_id, word.new_committee_id)
            by_move[move] = by_move.get(move, 0) + 1
        for (request_id, new_id), count in by_move.items():
            if count >= record.threshold:
                moved = MovedAccount(
                    *(key_id, record.account_id, old.committee_id, new_id, request_id),
                    record.share_epoch,
                )
                self._destroy(moved, old)
                return True
        return False

    def words(self, key_id: bytes) -> list[bytes]:
        """All that this node has about a key, by evaluation point."""
        return list(self._store.resharings.words(key_id).values())

    def lacking(self, committee_id: bytes, point: int) -> list[bytes]:
        """Keys whose shares this node has destroyed, and of which a fellow old holder has not said that it did."""
        return [
            moved.key_id
            for moved in self._store.resharings.moved_from(committee_id)
            if point not in self._store.resharings.words(moved.key_id)
        ]

    def is_complete(self, request: ReshareRequest) -> bool:
        """Whether the new committee has the account, and the old one cannot sign any more."""
        resharings = self._store.resharings
        certified = resharings.certificate(request.request_id) is not None
        return certified and len(resharings.words(request.terms.key_id)) >= request.deletions_due


def _result(envelope: bytes) -> bytes | None:
    body, _, _ = unpack_broadcast(envelope)
    try:
        return bytes(decode(body.payload, Tuple(NoValue(), Bytes(32)))[1])
    except SchemaViolation:
        return None
