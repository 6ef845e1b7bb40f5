"""Who can sign now: the members whose hello is fresh, who hold the account's pair and whom nothing speaks against."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Final

from participant.node.errors import (
    GatewayUnreachable,
    InvalidRequest,
    NodeFailure,
    NotASigner,
    PeerQuarantined,
    PolicyRefused,
    SignerSetBlocked,
    ThresholdNotMet,
)
from participant.node.hello import account_tag
from participant.node.membership import Membership
from participant.node.outcomes import POLICY_CODES
from participant.node.stock import Points, Stock
from participant.store import AccountRecord, Store
from tss.envelope import PartyId

IN_QUARANTINE: Final = "in quarantine until this node's operator clears it"


class Candidates:
    """The members' fitness for one request, which remembers who did not take part in it."""

    def __init__(
        self,
        membership: Membership,
        record: AccountRecord,
        store: Store,
        stock: Stock,
        wanted: tuple[int, ...] | None,
        *,
        bip340: bool = False,
    ) -> None:
        """`wanted`: the indices that the caller named; `bip340`: for which scheme stock counts. Raises InvalidRequest when they cannot sign."""
        self.membership = membership
        self._store = store
        self._stock = stock
        self._bip340 = bip340
        self.renew(record)
        self._looked: frozenset[bytes] | None = None
        self._wanted = None if wanted is None else self._check_wanted(wanted)
        self.excluded: dict[PartyId, tuple[str, str]] = {}
        """Who is out for this request: (code, why)."""
        self.excluded_sets: set[Points] = set()
        """Signer sets that are out for this request, though each of their members may sign in others."""

    def renew(self, record: AccountRecord) -> None:
        """Go on with what was found when the account was looked up again."""
        self.record = record
        self._tag = account_tag(record.committee_id, record.account_id, record.share_epoch, record.aux_id)
        self._looked = self.membership.presence.own_tags

    def outdated(self) -> bool:
        """Whether to look the account up again: this node's hello names other pairs, and did not when that was last done."""
        own = self.membership.presence.own_tags
        return own is not None and own != self._looked and self._tag not in own

    def _check_wanted(self, wanted: tuple[int, ...]) -> Points:
        n, t = self.membership.committee.n, self.record.threshold
        points = tuple(sorted({index + 1 for index in wanted}))
        if len(points) != t or len(wanted) != t or not all(1 <= point <= n for point in points):
            raise InvalidRequest(
                f"the signers of this account are exactly {t} different indices from 0 to {n - 1}"
            )
        if self.membership.me.index not in points:
            raise NotASigner(
                f"this node (index {self.membership.index}) is not among the signers: ask one that is"
            )
        return points

    def exclude(self, party: PartyId, code: str, why: str) -> None:
        """It does not sign this time."""
        self.excluded[party] = (code, why)

    def exclude_set(self, points: Points) -> None:
        """These do not sign together this time."""
        self.excluded_sets.add(points)

    def _closed(self) -> set[Points]:
        """Signer sets that are not to be tried."""
        return self.excluded_sets | self._store.blocked.signer_sets(self.membership.committee_id)

    def choose(self) -> Points | None:
        """The signer set to try next; None while too few are fit."""
        closed = self._closed()
        me, t, n = self.membership.me.index, self.record.threshold, self.membership.committee.n
        fit = [party.index for party in self.membership.others if self.problem(party) is None]
        # Each node begins with those behind itself, so that the work is spread over all.
        fit.sort(key=lambda point: (point - me) % n)
        if self._wanted is not None:
            return self._wanted if set(self._wanted) <= {me, *fit} and self._wanted not in closed else None
        fresh = self._stock.fresh(self.record, bip340=self._bip340)
        usable = [points for points in fresh if set(points) <= {me, *fit} and points not in closed]
        if usable:
            return max(usable, key=lambda points: (fresh[points], points))
        return first_open(me, fit, t, closed)

    def hopeless(self) -> bool:
        """Whether not even everybody who is away could make up for those who are out."""
        closed = self._closed()
        left = [party.index for party in self.membership.others if self._out(party) is None]
        if self._wanted is not None:
            return self._wanted in closed or not set(self._wanted) <= {self.membership.me.index, *left}
        return first_open(self.membership.me.index, left, self.record.threshold, closed) is None

    def _out(self, party: PartyId) -> str | None:
        """Why a member cannot sign, where waiting does not help."""
        if party in self.excluded:
            return self.excluded[party][1]
        marked = self._store.quarantine.peers(self.membership.committee_id, self.record.aux_id)
        if self.membership.identities[party] in marked:
            return IN_QUARANTINE
        return None

    def problem(self, party: PartyId) -> str | None:
        """Why a member cannot sign now; None when it can."""
        presence, out = self.membership.presence, self._out(party)
        if out is not None:
            return out
        if not presence.is_present(party):
            return presence.problem(party) or "away"
        if presence.is_quiet(party):
            return presence.problem(party) or "did not answer the last proposal"
        if not presence.holds(party, self._tag):
            return "has no share of the account under the present auxiliary information"
        return None

    def failure(self, reachable: bool | None, gateway_url: str) -> NodeFailure:  # noqa: FBT001 - three states, from a property
        """What the caller is told when no set can be found."""
        record, problems = self.record, self._problems()
        if reachable is False:
            return GatewayUnreachable.at(gateway_url)
        said = "; ".join(f"index {party.index - 1}: {why}" for party, why in sorted(problems.items()))
        refusals = {party: self.excluded[party] for party in problems if party in self.excluded}
        if problems and len(refusals) == len(problems):
            codes = {code for code, _ in refusals.values()}
            if codes <= POLICY_CODES:
                by = min(refusals)
                return PolicyRefused(
                    f"too few members' policies allow this ({said})", by=by.index - 1, rule=refusals[by][0]
                )
        if problems and all(why == IN_QUARANTINE for why in problems.values()):
            return PeerQuarantined(
                f"this cannot be signed without a member that failed a check ({said}): look at the evidence first "
                "(mpc-keygen quarantine list)",
                [party.index - 1 for party in problems],
            )
        there = self.membership.committee.n - len(problems)
        closed = self._closed()
        enough = there >= record.threshold if self._wanted is None else not problems
        if closed and enough:
            return _all_closed(closed)
        return ThresholdNotMet(
            f"{record.threshold} signers are needed and {there} can sign now ({said}). Start those that are missing, "
            "or see what their logs say",
            needed=record.threshold,
            missing=[party.index - 1 for party in problems],
        )

    def _problems(self) -> Mapping[PartyId, str]:
        found = {}
        for party in self.membership.others:
            if self._wanted is not None and party.index not in self._wanted:
                continue
            why = self.problem(party)
            if why is not None:
                found[party] = why
        return found


def _all_closed(closed: Collection[Points]) -> NodeFailure:
    named = "; ".join(", ".join(str(point - 1) for point in points) for points in sorted(closed))
    return SignerSetBlocked(
        f"every set that could sign is blocked or was tried ({named}): somebody in a blocked set cheated, and it is not known "
        "yet who. See mpc-keygen quarantine list",
        signers=named,
    )


def first_open(me: int, fit: Sequence[int], threshold: int, closed: Collection[Points]) -> Points | None:
    """The first set of `threshold` with `me` and those of `fit`, in their order, that is not closed; None without one."""
    for chosen in combinations(fit, threshold - 1):
        points = tuple(sorted((me, *chosen)))
        if points not in closed:
            return points
    return None


def signer_sets(membership: Membership, threshold: int, limit: int) -> list[Points] | None:
    """All signer sets with this node in them; None when there are more than `limit` sets of the account."""
    if comb(membership.committee.n, threshold) > limit:
        return None
    me = membership.me.index
    others = [party.index for party in membership.others]
    return [tuple(sorted((me, *chosen))) for chosen in combinations(others, threshold - 1)]
