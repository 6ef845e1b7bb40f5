"""From a proposal to a session: rebuilt from a party's own records, refused where it differs (protocol.md 0.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.effects import Protocol, SessionContext
from tss.encoding import encode
from tss.envelope import PartyId, Signed, holder
from tss.hd import derive
from tss.params import Suite
from tss.proposal import Proposal
from tss.setting import Member, Round0, Setup

if TYPE_CHECKING:
    from simulation.disk import Disk
    from simulation.world import World

Program = Callable[[SessionContext], Protocol[Any]]

ROUND_0: Final = {
    keygen.KIND: Round0.BLOCKING,
    aux_info.KIND: Round0.BLOCKING,
    presign.KIND: Round0.WITH_ROUND_1,
    presign.FULL_KIND: Round0.WITH_ROUND_1,
    sign.KIND: Round0.NONE,
}
CEREMONIES: Final = (keygen.KIND, aux_info.KIND)


class Declined(Exception):
    """This node takes no part."""


@dataclass
class Plan:
    """A session that this node is ready to take part in."""

    proposal: Proposal
    ph: bytes
    members: tuple[int, ...]
    program: Program = field(repr=False)
    accounts: tuple[str, ...] = ()
    presignature: Presignature | None = None
    signed: Signed | None = field(default=None, repr=False)
    """The proposal as its initiator signed it."""

    def setup(self, suite: Suite, me: PartyId, identities: Mapping[PartyId, bytes]) -> Setup:
        """Signing from stock rests on the proposal and on how the presignature was made: evidence needs both."""
        preimages, background = [], []
        if self.presignature is not None and self.signed is not None:
            background = [self.signed]
            made = self.presignature.transcript
            if made is not None:
                preimages, background = [made.preimage], [self.signed, *made.messages]
        return Setup(
            suite, self.proposal.kind, me, tuple(Member(holder(j), identities[holder(j)]) for j in self.members),
            self.ph, self.proposal.tail, ROUND_0[self.proposal.kind], preimages, background,
        )  # fmt: skip


class Planner:
    """The half of a party that reads proposals."""

    world: World
    index: int
    disk: Disk
    stock: dict[bytes, Presignature]

    def approves(self, request: SignRequest) -> bool:
        """This party's policy."""
        return self.index in self.world.artefacts.approved.get((request.digest, request.path), ())

    def in_ceremony(self) -> bool:
        """Whether a run of all members is under way here."""
        raise NotImplementedError

    def plan(self, proposal: Proposal) -> Plan:
        """The session behind a proposal, from own records. Raises Declined, CallerError."""
        ph = proposal.hash(self.world.suite)
        if proposal.kind in CEREMONIES:
            return self._plan_ceremony(proposal, ph)
        account = self.disk.accounts.get(proposal.account_id or "")
        if account is None:
            raise Declined("no such account here")
        points = tuple(int(j) for j in proposal.tail[4])
        initiator = proposal.initiator
        if (
            self.index not in points
            or initiator.index not in points
            or not set(points) <= set(self.world.points)
        ):
            raise Declined("not a signer set")
        share, presignature = account.share, None
        program: Program
        if proposal.kind == sign.KIND:
            presignature = self.stock.get(proposal.tail[0])
            if presignature is None:
                raise Declined("no such presignature here")
            public = presignature.public
            if (public.key_id, public.share_epoch, public.signers) != (
                share.key_id,
                share.share_epoch,
                points,
            ):
                raise Declined("the presignature is not of this account")
            if public.owner != initiator.index:
                raise Declined("the proposer is not the owner")
            request = _request(proposal)
            tau = derive(share.X, share.chain_code, request.path).tau
            e_owner = proposal.tail[5]
            tail = sign.tail(proposal.tail[0], request, tau, points, e_owner)
            program = partial(
                sign.stock_sign, presignature=presignature, chain_code=share.chain_code, owner=initiator,
                request=request, e_owner=e_owner,
            )  # fmt: skip
        else:
            aux = self.disk.aux.get(account.aux_id or b"")
            if aux is None:
                raise Declined("no auxiliary information here")
            owner = int(proposal.tail[7])
            if owner != initiator.index:
                raise Declined("the proposer is not the owner")
            if proposal.kind == presign.FULL_KIND:
                request = _request(proposal)
                tail = presign.full_tail(share, aux, points, owner, request)
                program = partial(presign.full_sign, share=share, aux=aux, owner=initiator, request=request)
            else:
                batch = int(proposal.tail[8])
                tail = presign.tail(share, aux, points, owner, batch)
                program = partial(presign.presign, share=share, aux=aux, owner=initiator, batch=batch)
        if encode(tail) != encode(proposal.tail):
            raise Declined("the records differ")
        if proposal.kind != presign.KIND and not self.approves(request):
            raise Declined("the policy says no")
        return Plan(proposal, ph, points, program, presignature=presignature)

    def _plan_ceremony(self, proposal: Proposal, ph: bytes) -> Plan:
        world, disk = self.world, self.disk
        if self.in_ceremony():
            raise Declined("another ceremony is under way")
        accounts: tuple[str, ...] = ()
        program: Program
        if proposal.kind == keygen.KIND:
            n, t = (int(value) for value in proposal.tail)
            if (n, t) != (world.n, world.t) or proposal.account_id is None:
                raise Declined("the records differ")
            if proposal.account_id in disk.accounts:
                raise Declined("the account exists")
            if disk.current_aux is None:
                raise Declined("no auxiliary information here")
            program = partial(keygen.keygen, t=t, aux_id=disk.current_aux)
        else:
            (listed,) = proposal.tail
            if any(p.state.share is not None and not p.voided for p in disk.pendings.values()):
                raise Declined("a key generation waits for its certificate")
            names = {account.share.key_id: name for name, account in disk.accounts.items()}
            if any(key_id not in names for key_id in listed or ()):
                raise Declined("an account is not known here")
            accounts = tuple(names[key_id] for key_id in listed or ())
            primes = world.primes(self.index)
            program = partial(aux_info.aux_info, take_primes=lambda: primes)
        disk.void(proposal.kind, proposal.account_id)
        return Plan(proposal, ph, world.points, program, accounts=accounts)


def _request(proposal: Proposal) -> SignRequest:
    digest, path = proposal.tail[9:11] if proposal.kind == presign.FULL_KIND else proposal.tail[1:3]
    return SignRequest(digest, tuple(int(index) for index in path))
