"""Who of a committee can serve a request that was put to each member by its caller, and what is told when too few can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from participant.node.candidates import first_open
from participant.node.driver import Identifying
from participant.node.errors import NodeFailure, PolicyRefused, ThresholdNotMet
from participant.node.membership import Membership
from participant.node.outcomes import POLICY_CODES, failure_of_session, refusal_of
from participant.node.plan import Decline, Declined
from participant.node.stock import Points
from tss.envelope import PartyId, holder
from tss.errors import (
    AbortedByPeer,
    NoBlame,
    PeerFault,
    PresignatureSpent,
    ProtocolError,
    Refused,
    Timeout,
)

_PASSING: Final = frozenset({Decline.BUSY, Decline.STOPPING})
"""Refusals that may be gone a moment later."""


class Standing:
    """The members by evaluation point: who was asked the same, who is out for good, and who only for now."""

    def __init__(self, membership: Membership, threshold: int) -> None:
        self._membership = membership
        self._me = membership.me.index
        self._threshold = threshold
        self.asked: set[int] = set()
        """Those whose note is equal to this node's, itself included when its own came back."""
        self._differing: dict[int, str] = {}
        self._refused: dict[int, tuple[str, str]] = {}
        self._passed: dict[int, str] = {}
        self._closed: set[Points] = set()
        self.said: Mapping[int, str] = {}
        """Why those who were out for a while were."""

    # Notes

    def heard(self, point: int, difference: str) -> None:
        """A member's note; `difference` is what sets it apart from this node's own, empty when nothing does."""
        if difference:
            self._differing[point] = difference
        else:
            self.asked.add(point)
            self._differing.pop(point, None)

    @property
    def own_came_back(self) -> bool:
        """Whether the room takes and gives messages."""
        return self._me in self.asked

    @property
    def enough(self) -> bool:
        """Whether as many were asked as sign, this node among them."""
        return self.own_came_back and len(self.asked) >= self._threshold

    def whose_turn(self, turn: int) -> int:
        """The point that proposes in the given turn, counted from 0."""
        order = sorted(self.asked)
        return order[turn % len(order)]

    # Signers

    def choose(self) -> Points | None:
        """This node and those who follow it, as far as nothing speaks against them; None when they are too few."""
        order = sorted(self.asked)
        at = order.index(self._me)
        fit = [
            point
            for point in (*order[at + 1 :], *order[:at])
            if point not in self._refused and point not in self._passed
        ]
        return first_open(self._me, fit, self._threshold, self._closed)

    def hopeless(self) -> bool:
        """Whether those who were asked are too few even when all come back who are out for a while."""
        left = sorted(self.asked - set(self._refused) - {self._me})
        return first_open(self._me, left, self._threshold, self._closed) is None

    def leave_out(self, identities: Iterable[bytes]) -> None:
        """Members in quarantine are out."""
        marked = set(identities)
        for party, identity in self._membership.identities.items():
            if identity in marked:
                self._refused[party.index] = (
                    Decline.QUARANTINED,
                    "is in quarantine until this node's operator clears it",
                )

    def close(self, sets: Iterable[Points]) -> None:
        """These do not sign together, though each of their members may sign in other sets."""
        self._closed.update(sets)

    def pass_over(self, points: Iterable[int], why: str) -> None:
        """Members are out for now."""
        self._passed.update((point, why) for point in points if point != self._me)
        self.said = dict(self._passed)

    def come_back(self) -> bool:
        """Let those who were out for a while be asked again; whether there were any."""
        any_ = bool(self._passed)
        self._passed.clear()
        return any_

    # After a proposal that failed

    def after(
        self, points: Points, error: Declined | ProtocolError, mark_silent: Callable[[PartyId], None]
    ) -> None:
        """Leave out whom the failure is due to. Raises NodeFailure for what ends the request at this node."""
        match error:
            case PresignatureSpent():
                return
            case Declined() if error.code == Decline.BUSY:
                self.pass_over(points, "waits until this node is free")
            case Declined() if error.code == Decline.SET_BLOCKED:
                self.close([points])
            case Identifying():
                self.close([points])
            case Refused():
                self._after_refusal(points, error)
            case AbortedByPeer():
                self.pass_over([error.by], f"ended the session: {error.reason}")
            case Timeout() if error.silent:
                for point in error.silent:
                    mark_silent(holder(point))
                self.pass_over(error.silent, "did not answer the proposal in time")
            case PeerFault() if error.peer is not None:
                self._refused[error.peer] = ("PEER_FAULT", f"sent what fails a check [{error.check}]")
            case NoBlame():
                self.pass_over(points, f"an attempt failed: {error}")
            case _:
                raise failure_of_session(error) from None

    def _after_refusal(self, points: Points, error: Refused) -> None:
        code, text = refusal_of(error)
        if code == Decline.NOT_ASKED:
            # Its note is from before it started anew, or it has given up.
            self.asked.discard(error.by)
        elif code == Decline.SET_BLOCKED:
            self.close([points])
        elif code in _PASSING:
            self.pass_over([error.by], text)
        elif code != Decline.PRESIGNATURE_UNKNOWN:
            self._refused[error.by] = (code, f"refuses: {text}")

    # What the caller is told

    def failure(self) -> NodeFailure:
        """Too few take part: whose policies forbid it, or who is missing."""
        codes = {code for code, _ in self._refused.values()}
        if codes and codes <= POLICY_CODES:
            by = min(self._refused)
            code, text = self._refused[by]
            return PolicyRefused(f"index {by - 1} {text}", by=by - 1, rule=code)
        return self.threshold_not_met("too few of those who were asked take part")

    def threshold_not_met(self, what: str) -> ThresholdNotMet:
        """`what` is said first; then who is missing, and why."""
        return ThresholdNotMet(
            f"{self._threshold} signers are needed and {what} ({self.reasons()}). Ask the others too, with the same tx_id, "
            "execution_id and data",
            needed=self._threshold,
            missing=[point - 1 for point in self._missing()],
        )

    def _missing(self) -> Sequence[int]:
        points = [party.index for party in self._membership.others]
        return [point for point in points if point not in self.asked or point in self._refused]

    def reasons(self) -> str:
        """One clause for every member that does not take part."""
        presence, clauses = self._membership.presence, {}
        for point in {*self._missing(), *self.said}:
            if point in self._refused:
                clauses[point] = self._refused[point][1]
            elif point in self._differing:
                clauses[point] = self._differing[point]
            elif point in self.said:
                clauses[point] = self.said[point]
            else:
                clauses[point] = presence.problem(holder(point)) or "was not asked"
        return "; ".join(f"index {point - 1}: {why}" for point, why in sorted(clauses.items()))
