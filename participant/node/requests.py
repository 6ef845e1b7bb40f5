"""The requests that this node's operator approved, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from participant.recover_request import RecoverRequest
from participant.reshare_request import BadRequest, ReshareRequest
from participant.store import Store, StoreDamaged
from participant.store.approvals import Approval
from tss.cggmp24 import recover, reshare
from tss.params import Suite

R = TypeVar("R", ReshareRequest, RecoverRequest)


class ApprovedRequests(Generic[R]):
    """Those of one kind, by id. Blocking, for worker threads, and quick after the first time."""

    def __init__(
        self,
        store: Store,
        suites: Mapping[str, Suite],
        kind: str,
        parse: Callable[[str, Mapping[str, Suite]], R],
    ) -> None:
        """`parse` raises BadRequest."""
        self._store = store
        self._suites = suites
        self._kind = kind
        self._parse: Callable[[str, Mapping[str, Suite]], R] = parse
        self._known: dict[bytes, R] = {}

    def get(self, request_id: bytes) -> R | None:
        """One that was approved, be it ended or withdrawn. Raises StoreDamaged."""
        if request_id not in self._known:
            approval = self._store.approvals.get(request_id)
            if approval is None or approval.kind != self._kind:
                return None
            self._known[request_id] = self._read(request_id, approval.request)
        return self._known[request_id]

    def open(self) -> list[R]:
        """Those that this node still works on, oldest first."""
        return self._requests(self._store.approvals.entries(self._kind, ended=False))

    def all(self) -> list[R]:
        """Also those that have ended or were withdrawn."""
        return self._requests(self._store.approvals.entries(self._kind))

    def _requests(self, entries: Iterable[Approval]) -> list[R]:
        found = [self.get(entry.request_id) for entry in entries]
        return [request for request in found if request is not None]

    def _read(self, request_id: bytes, text: bytes) -> R:
        try:
            request = self._parse(text.decode(), self._suites)
        except (BadRequest, UnicodeDecodeError) as error:
            raise StoreDamaged(f"the approved request {request_id.hex()} is damaged: {error}") from None
        if request.request_id != request_id:
            raise StoreDamaged(f"the approved request {request_id.hex()} is another one")
        return request


def reshare_requests(store: Store, suites: Mapping[str, Suite]) -> ApprovedRequests[ReshareRequest]:
    """Of accounts that go to another committee."""
    return ApprovedRequests(store, suites, reshare.KIND, ReshareRequest.from_yaml)


def recover_requests(store: Store, suites: Mapping[str, Suite]) -> ApprovedRequests[RecoverRequest]:
    """Of lost shares."""
    return ApprovedRequests(store, suites, recover.KIND, RecoverRequest.from_yaml)
