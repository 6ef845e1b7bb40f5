"""The invariants of every life, looked up in its artefacts and nowhere else.

S1  No honest party ever signs two different partial signatures of one presignature (one Gamma), whatever the request: every
    (req, sigma) that it signed counts, sent or not, before and after crashes. No two presignatures have one Gamma.
S2  Whoever signed a partial signature, and every signer of a finished signature, had that digest and path let pass by its own
    policy. All of S must sign and the malicious are fewer than t, so no signature is without an honest party's yes.
S3  Of every key that is in force anywhere honest, at least t honest parties (all of them, when fewer are honest) hold the same
    epoch's shares: in force, or pending until the certificate reaches them. These shares give the key.
S4  An account has one key: the same at all honest parties, from its first moment to the end.
S5  No honest party is blamed: not by a session's outcome, not by a complaint that an honest party signed. No honest party
    signs two messages in one slot, or speaks in a session after it lost what it knew of it.
S6  What "blamed by all or by nobody" can mean here: a party may see only that another one ended the session, or silence. So
    (a) those who blame in one session blame a malicious party, and the same one where the check is of public values (protocol.md
    4.2, round 3 of presigning); (b) where an honest party blames for a check of the protocol before the last blocking echo, no
    honest party has a result. Two versions of a message, ill-formed ones and false complaints may reach one party when another
    is done; what is exchanged after the last echo (sigma, done) may differ a recipient.
E   Equal results: all honest parties with a result of a session have the same one, public part by public part; signatures
    verify under code that is not ours (X, digest, low s, recovery id).
P   Only ProtocolError and its kind leaves a session, and InternalError, a bug of ours, never ends one.
Q   A session that has ended signs nothing more.
L   Where nothing is lost, nobody crashes, refuses or cheats, every session in which all take part has its result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, Final

from session_testing import Anything

from simulation.artefacts import Artefacts, Ended, Request, Said
from simulation.judge import verifies
from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import Signature
from tss.encoding import decode
from tss.envelope import Body, Kind, decode_body
from tss.errors import (
    BadDecommit,
    BadModulusSize,
    BadPoint,
    BadShare,
    InternalError,
    PeerFault,
    ProofInvalid,
    WrongLength,
)
from tss.proposal import Proposal
from tss.records import AuxSet, KeyShare
from tss.transcript import hash_commit
from tss.vss import lagrange

AGREED: Final = (BadDecommit, BadModulusSize, BadPoint, BadShare, ProofInvalid, WrongLength)
"""Faults that a party finds in a round's values, before it says that it goes on."""


def check(artefacts: Artefacts) -> list[str]:
    """All violations; each begins with the name of its invariant."""
    return list(Checker(artefacts).violations())


class Checker:
    """Reads one life."""

    def __init__(self, artefacts: Artefacts) -> None:
        self.a = artefacts
        self.honest = set(artefacts.honest)
        self.bodies: list[tuple[Said, Body]] = [
            (said, decode_body(said.encoded)) for said in artefacts.said if said.party in self.honest
        ]
        self.by_session: dict[int, list[Ended]] = defaultdict(list)
        self.ends = [ended for ended in artefacts.ended if ended.party in self.honest]
        self.sessions: dict[bytes, list[Ended]] = defaultdict(list)
        for ended in self.ends:
            self.sessions[ended.ph].append(ended)
        self.scopes = self._scopes()

    def _scopes(self) -> dict[bytes, Proposal]:
        """Proposals by session id."""
        found = {
            e.sid: self.a.proposals[e.ph]
            for e in self.a.ended
            if e.sid is not None and e.ph in self.a.proposals
        }
        return {**found, **self.a.proposals}

    def violations(self) -> Iterator[str]:
        for name, look in (
            ("S1", self.one_partial), ("S2", self.approved), ("S3", self.held), ("S4", self.one_key),
            ("S5", self.nobody_framed), ("S6", self.blame), ("E", self.equal), ("P", self.errors),
            ("Q", self.silence), ("L", self.progress),
        ):  # fmt: skip
            for what in look():
                yield f"{name}: {what}"

    # -- partial signatures ----------------------------------------------------------------------------------------

    def partials(self) -> Iterator[tuple[Said, Proposal, bytes, list[Any]]]:
        """(who, proposal, presignature id, [req, sigma]) of every one that an honest party signed."""
        for said, body in self.bodies:
            proposal = self.scopes.get(body.sid)
            if body.kind is not Kind.MSG or proposal is None:
                continue
            partial = _partial_in(proposal, body, self.a.suite.group)
            if partial is not None:
                yield said, proposal, self._presignature_id(proposal, body), partial

    def _presignature_id(self, proposal: Proposal, body: Body) -> bytes:
        if proposal.kind == sign.KIND:
            return bytes(proposal.tail[0])
        proto = self.a.suite.proto
        return hash_commit(proto, "presig-id", hash_commit(proto, "item", body.sid, 0))

    def one_partial(self) -> Iterator[str]:
        seen: dict[tuple[int, bytes], list[Any]] = {}
        for said, _, presignature_id, partial in self.partials():
            first = seen.setdefault((said.party, presignature_id), partial)
            if first != partial:
                yield f"party {said.party} signed two partial signatures of presignature {presignature_id.hex()[:12]}"
        ids: dict[bytes, bytes] = {}
        for ended in self.ends:
            if ended.kind == presign.KIND and ended.result is not None:
                for presignature in ended.result:
                    Gamma = presignature.public.Gamma.to_bytes()
                    if ids.setdefault(Gamma, presignature.id) != presignature.id:
                        yield f"two presignatures have one Gamma: {presignature.id.hex()[:12]}"

    def approved(self) -> Iterator[str]:
        for said, proposal, _, _ in self.partials():
            if said.party not in self.a.approved.get(_request(proposal), ()):
                yield f"party {said.party} signed what its policy does not let pass"
        for ended in self.a.ended:
            if isinstance(ended.result, Signature):
                proposal = self.a.proposals[ended.ph]
                signers = {int(j) for j in proposal.tail[4]}
                willing = self.a.approved.get((ended.result.digest, tuple(ended.result.path)), frozenset())
                if not signers & self.honest <= willing:
                    yield f"a signature of {ended.result.digest.hex()[:12]}, which an honest signer's policy refuses"

    # -- keys ------------------------------------------------------------------------------------------------------

    def held(self) -> Iterator[str]:
        live: dict[tuple[bytes, bytes], KeyShare] = {}
        for index in self.honest:
            for share in self.a.holdings[index].active.values():
                live[share.key_id, share.share_epoch] = share
        need = min(self.a.t, len(self.honest))
        for (key_id, epoch), some in live.items():
            shares = {}
            for index in sorted(self.honest):
                holding = self.a.holdings[index]
                for share in (*holding.active.values(), *(share for _, share in holding.waiting)):
                    if (share.key_id, share.share_epoch) == (key_id, epoch):
                        shares[index] = share
            if len(shares) < need:
                yield f"key {key_id.hex()[:12]} is in force, and honest shares of it are held by {sorted(shares)} only"
            yield from self._fit(some, shares)

    def _fit(self, some: KeyShare, shares: dict[int, KeyShare]) -> Iterator[str]:
        group = some.suite.group
        for index, share in shares.items():
            if group.mul_base(share.x) != some.public_shares[index]:
                yield f"the share of party {index} is not the one that its public share says"
        for S in combinations(sorted(shares), some.t):
            x = sum(lagrange(list(S), j, 0, group.q) * shares[j].x for j in S) % group.q
            if group.mul_base(x) != some.X:
                yield f"the shares of {S} do not give the key"

    def one_key(self) -> Iterator[str]:
        keys: dict[str, KeyShare] = dict(self.a.dealt)
        for activated in self.a.activated:
            if activated.party in self.honest:
                known = keys.setdefault(activated.account_id, activated.share)
                if (known.X, known.key_id, known.chain_code) != (
                    activated.share.X, activated.share.key_id, activated.share.chain_code,
                ):  # fmt: skip
                    yield f"account {activated.account_id} has two keys, one of them at party {activated.party}"
        for index in self.honest:
            for account_id, share in self.a.holdings[index].active.items():
                if account_id not in keys or keys[account_id].X != share.X:
                    yield f"account {account_id} ends with another key at party {index}"

    # -- blame -----------------------------------------------------------------------------------------------------

    def nobody_framed(self) -> Iterator[str]:
        for ended in self.ends:
            for framed in ended.all_blamed - self.a.malicious:
                yield f"party {ended.party} blames party {framed}, which is honest: {ended.error}"
        slots: dict[Any, bytes] = {}
        spoke: dict[tuple[int, bytes], int | None] = {}
        for said, body in self.bodies:
            if body.kind is Kind.COMPLAINT:
                accused = _accused(body, self.a.suite.group)
                if accused not in self.a.malicious:
                    yield f"party {said.party} complains about party {accused}, which is honest"
            if body.kind not in (Kind.MSG, Kind.ECHO, Kind.DONE):
                continue
            if slots.setdefault(body.slot, said.encoded) != said.encoded:
                yield f"party {said.party} signed two {body.kind} messages of round {body.round} in one session"
            if spoke.setdefault((said.party, body.sid), said.session) != said.session:
                yield f"party {said.party} speaks again in a session whose state it lost"

    def blame(self) -> Iterator[str]:
        for ph, ends in self.sessions.items():
            blaming = [e for e in ends if isinstance(e.error, PeerFault)]
            kind = ends[0].kind
            public = [e for e in blaming if ".abort-" in e.error.check or "presign.r3.item" in e.error.check]
            if len({e.blamed for e in public}) > 1:
                verdicts = sorted((e.party, e.blamed) for e in public)
                yield f"{kind} {ph.hex()[:12]}: public values, and {verdicts}"
            caught = [e for e in blaming if isinstance(e.error, AGREED)]
            if kind in (keygen.KIND, aux_info.KIND, presign.KIND) and caught:
                done = [e.party for e in ends if e.result is not None]
                if done:
                    error = caught[0].error
                    yield f"{kind} {ph.hex()[:12]}: party {caught[0].party} blames ({error}) and {done} have a result"

    # -- results ---------------------------------------------------------------------------------------------------

    def equal(self) -> Iterator[str]:
        for ph, ends in self.sessions.items():
            results = [e for e in ends if e.result is not None]
            if len({repr(_public(e.result)) for e in results}) > 1:
                yield f"{ends[0].kind} {ph.hex()[:12]}: different results at {[e.party for e in results]}"
            for ended in {repr(_public(e.result)): e for e in results}.values():
                yield from self._sound(ended)

    def _sound(self, ended: Ended) -> Iterator[str]:
        proposal, group = self.a.proposals[ended.ph], self.a.suite.group
        if isinstance(ended.result, Signature):
            key = self._key_of(proposal)
            asked = _request(proposal)
            if (ended.result.digest, tuple(ended.result.path)) != asked:
                yield f"{ended.kind} {ended.ph.hex()[:12]}: the signature is of another request"
            if not verifies(key, ended.result):
                yield f"{ended.kind} {ended.ph.hex()[:12]}: the signature does not verify"
        elif ended.kind == presign.KIND:
            for presignature in ended.result:
                public = presignature.public
                if (
                    group.sum(list(public.Delta.values())) != group.G
                    or group.sum(list(public.S.values())) != public.X
                ):
                    yield f"presignature {presignature.id.hex()[:12]} does not fit together"

    def _key_of(self, proposal: Proposal) -> KeyShare:
        account_id = proposal.account_id or ""
        for index in sorted(self.honest):
            if account_id in self.a.holdings[index].active:
                return self.a.holdings[index].active[account_id]
        return self.a.dealt[account_id]

    def errors(self) -> Iterator[str]:
        for party, what in self.a.escaped:
            yield f"party {party}: {what}"
        for ended in self.ends:
            if isinstance(ended.error, InternalError):
                yield f"party {ended.party}, {ended.kind} {ended.ph.hex()[:12]}: {ended.error}"

    def silence(self) -> Iterator[str]:
        over = {ended.session: ended.number for ended in self.ends}
        for said, body in self.bodies:
            if said.session in over and said.number > over[said.session]:
                yield f"party {said.party} says {body.kind} {body.round} in a session that has ended"

    def progress(self) -> Iterator[str]:
        if not self.a.quiet:
            return
        for ph, ends in self.sessions.items():
            members = _members(self.a.proposals[ph], self.a.n)
            if self.a.started[ph] == members:
                failed = [(e.party, str(e.error)) for e in ends if e.result is None]
                # A promise is to one request alone: asking for another one with it has no result, rightly.
                if failed and not all("presignature is" in text or "aborted" in text for _, text in failed):
                    yield f"{ends[0].kind} {ph.hex()[:12]}: no result though nothing went wrong: {failed}"
                if len(ends) != len(members):
                    yield f"{ends[0].kind} {ph.hex()[:12]}: it has no end"


def _partial_in(proposal: Proposal, body: Body, group: Any) -> list[Any] | None:
    """[req, sigma] where the message holds one."""
    many = proposal.kind == sign.KIND and len(proposal.tail[4]) > 2
    rounds = {presign.FULL_KIND: (4,), sign.KIND: (2,) if many else (0, 1)}
    if body.round not in rounds.get(proposal.kind, ()):
        return None
    _, value = decode(body.payload, Anything(group))
    return value[1] if proposal.kind == sign.KIND and body.round == 0 else value


def _accused(body: Body, group: Any) -> int:
    return int(decode(body.payload, Anything(group))[0][1])


def _request(proposal: Proposal) -> Request:
    digest, path = proposal.tail[9:11] if proposal.kind == presign.FULL_KIND else proposal.tail[1:3]
    return bytes(digest), tuple(int(index) for index in path)


def _members(proposal: Proposal, n: int) -> set[int]:
    if proposal.kind in (keygen.KIND, aux_info.KIND):
        return set(range(1, n + 1))
    return {int(j) for j in proposal.tail[4]}


def _public(result: Any) -> Any:
    """What all who have a result have of it in common."""
    if isinstance(result, KeyShare):
        shares = [result.public_shares[j].to_bytes() for j in result.indices]
        return [result.key_id, result.share_epoch, result.t, result.X.to_bytes(), shares, result.chain_code]
    if isinstance(result, AuxSet):
        return [result.aux_id, [result.parties[j].as_list() for j in result.indices]]
    if isinstance(result, Signature):
        return [result.r, result.s, result.v, result.X_c.to_bytes(), result.digest, result.path]
    return [_of_presignature(presignature) for presignature in _listed(result)]


def _listed(result: Iterable[Presignature]) -> Iterable[Presignature]:
    return result


def _of_presignature(presignature: Presignature) -> list[Any]:
    public = presignature.public
    points = [[j, public.Delta[j].to_bytes(), public.S[j].to_bytes()] for j in public.signers]
    return [
        public.id,
        public.sid,
        public.key_id,
        public.owner,
        public.signers,
        public.Gamma.to_bytes(),
        points,
    ]
