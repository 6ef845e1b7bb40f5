"""The requests that this node's operator approved, read once."""

from __future__ import annotations

from collections.abc import Mapping

from participant.reshare_request import BadRequest, ReshareRequest
from participant.store import Store, StoreDamaged
from tss.cggmp24 import reshare
from tss.params import Suite


class ReshareRequests:
    """By id. Blocking, for worker threads, and quick after the first time."""

    def __init__(self, store: Store, suites: Mapping[str, Suite]) -> None:
        self._store = store
        self._suites = suites
        self._known: dict[bytes, ReshareRequest] = {}

    def get(self, request_id: bytes) -> ReshareRequest | None:
        """One that was approved, be it ended or withdrawn. Raises StoreDamaged."""
        if request_id not in self._known:
            approval = self._store.approvals.get(request_id)
            if approval is None or approval.kind != reshare.KIND:
                return None
            self._known[request_id] = self._read(request_id, approval.request)
        return self._known[request_id]

    def open(self) -> list[ReshareRequest]:
        """Those that this node still works on, oldest first."""
        entries = self._store.approvals.entries(reshare.KIND, ended=False)
        found = [self.get(entry.request_id) for entry in entries]
        return [request for request in found if request is not None]

    def _read(self, request_id: bytes, text: bytes) -> ReshareRequest:
        try:
            request = ReshareRequest.from_yaml(text.decode(), self._suites)
        except (BadRequest, UnicodeDecodeError) as error:
            raise StoreDamaged(f"the approved request {request_id.hex()} is damaged: {error}") from None
        if request.request_id != request_id:
            raise StoreDamaged(f"the approved request {request_id.hex()} is another one")
        return request
