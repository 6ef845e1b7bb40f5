"""What is asked of a committee in one life, all drawn from its seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, Final

from tss_testing import SMALL_SECP, TINY, SeededRng

from simulation import relay
from simulation.artefacts import Artefacts, Ended
from simulation.malice import Cheat
from simulation.party import Party
from simulation.world import Setting, World
from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.errors import CallerError, PresignatureSpent
from tss.hd import derive

SPAN: Final = 400.0
"""Virtual seconds in which things are asked for."""
KEYS: Final = 4
"""Dealt keys that the lives share."""


def setting_of(seed: int) -> Setting:
    """The committee, its level, its faults and its malicious parties."""
    dice = random.Random(f"setting {seed}")
    n, t = dice.choice(((3, 2), (3, 2), (3, 2), (5, 3)))
    # Signatures at paths, judged by a foreign library, are of the real curve; all else is of the toy curve.
    suite = SMALL_SECP if dice.random() < 0.1 else TINY
    profile = dice.choice(("calm", "rough", "rough", "hostile"))
    malicious: dict[int, type[Party]] = {}
    if dice.random() < 0.5:
        most = 2 if n == 5 and dice.random() < 0.3 else 1
        malicious = dict.fromkeys(dice.sample(range(1, n + 1), most), Cheat)
    faults = relay.draw(dice, profile, n, SPAN)
    crashing = 0.0 if profile == "calm" else dice.choice((0.0, 0.0, 0.002, 0.01))
    return Setting(
        seed, suite, n, t, faults, malicious, {}, crashing, quiet=profile == "calm" and not malicious
    )


class Life:
    """Draws what happens, and sees to it that it does."""

    def __init__(self, world: World, profile_quiet: bool) -> None:  # noqa: FBT001 - one flag, named at its only call
        self.world = world
        self.dice = random.Random(f"life {world.seed}")
        self.quiet = profile_quiet
        self.tiny = world.suite is TINY
        self.requests: list[SignRequest] = []
        self.sets = list(combinations(world.points, world.t))

    def prepare(self) -> None:
        """What is there from the beginning, and the plan of what is asked for."""
        dice, world = self.dice, self.world
        world.deal("dealt", dice.randrange(KEYS))
        for number in range(dice.choice((12, 18, 24)) if self.tiny else 8):
            signers = dice.choice(self.sets)
            world.deal_stock(signers, dice.choice(signers), number)
        for party in world.parties.values():
            if isinstance(party, Cheat):
                party.remember()
        self._draw_requests()
        self._ask(dice.choice((16, 24, 36)), self.sign)
        if self.tiny:
            self._ask(dice.choice((0, 0, 1, 1)), self.presign)
            self._ask(dice.choice((0, 0, 1)), self.full_sign)
            self._ask(dice.choice((0, 0, 0, 0, 0, 1)), self.aux)
        self._ask(dice.choice((0, 0, 0, 1, 3)), self.keygen)
        if not self.quiet:
            self._draw_trouble()
        for party in world.parties.values():
            if isinstance(party, Cheat):
                self._ask(dice.choice((0, 2, 4)), party.scheme)
                self._ask(2 if self.tiny and "wrong outputs" in party.rules else 0, self.presign)
                self._ask(3 if "late done" in party.rules else 0, self.keygen)
                self._ask(1 if "mutate" in party.rules else 0, self.keygen)
                self._ask(1 if self.tiny and "mutate" in party.rules else 0, self.presign)
            for _ in range(6):
                world.scheduler.after(dice.random() * 2 * SPAN, party.hello)

    def _ask(self, times: int, what: Callable[[], None]) -> None:
        for _ in range(times):
            self.world.scheduler.after(self.dice.random() * SPAN, what)

    def _draw_requests(self) -> None:
        """Digests (at paths, on the real curve) that all approve, or some; what is not listed nobody does."""
        dice, world = self.dice, self.world
        for number in range(5):
            digest = hashlib.sha256(f"{world.seed} {number}".encode()).digest()
            path = () if self.tiny else dice.choice(((), (0,), (7, 2)))
            willing = world.points if dice.random() < 0.85 else tuple(dice.sample(world.points, world.t))
            world.artefacts.approved[digest, path] = frozenset(willing)
            self.requests.append(SignRequest(digest, path))

    def _draw_trouble(self) -> None:
        """Crashes, writes that fail, sessions that are ended."""
        dice, world = self.dice, self.world
        honest = [party for party in world.parties.values() if not party.malicious]
        for party in honest:
            for _ in range(dice.choice((0, 0, 0, 1))):
                party.disk.refuses |= set(
                    range(first := dice.randrange(1, 20), first + dice.choice((1, 1, 3)))
                )
            for _ in range(dice.choice((0, 0, 1))):
                party.disk.crashes[dice.randrange(1, 20)] = dice.random() < 0.5
            for _ in range(dice.choice((0, 0, 0, 1))):
                down = dice.choice((1.0, 20.0, 150.0))
                world.scheduler.after(dice.random() * SPAN, partial(party.crash, down))
            for _ in range(dice.choice((0, 0, 1))):
                world.scheduler.after(dice.random() * SPAN, partial(party.interrupt, None))
                world.scheduler.after(dice.random() * SPAN, party.abort_one)

    # -- what is asked ---------------------------------------------------------------------------------------------

    def _account(self, party: Party) -> str | None:
        return self.dice.choice(sorted(party.disk.accounts)) if party.disk.accounts else None

    def _someone(self) -> tuple[Party, tuple[int, ...]]:
        signers = self.dice.choice(self.sets)
        return self.world.parties[self.dice.choice(signers)], signers

    def keygen(self) -> None:
        party = self.world.parties[self.dice.choice(self.world.points)]
        account_id = self.dice.choice(("first", "first", "second"))
        tail = keygen.tail(self.world.n, self.world.t)
        party.propose(
            self.world.proposal(party.index, account_id, keygen.KIND, tail, self._id()),
            self._again(self.keygen),
        )

    def aux(self) -> None:
        party = self.world.parties[self.dice.choice(self.world.points)]
        key_ids = sorted(account.share.key_id for account in party.disk.accounts.values())
        proposal = self.world.proposal(
            party.index, None, aux_info.KIND, aux_info.tail(key_ids or None), self._id()
        )
        party.propose(proposal, self._again(self.aux))

    def _again(self, what: Callable[[], None]) -> Callable[[Ended], None]:
        """What failed is sometimes asked for again."""

        def then(ended: Ended) -> None:
            if ended.error is not None and self.dice.random() < 0.4:
                self.world.scheduler.after(self.dice.choice((1.0, 30.0)), what)

        return then

    def presign(self) -> None:
        party, signers = self._someone()
        tail = self._presign_tail(party, signers, self.dice.choice((1, 2, 3)))
        if tail is not None:
            account_id, values = tail
            party.propose(self.world.proposal(party.index, account_id, presign.KIND, values, self._id()))

    def _presign_tail(
        self, party: Party, signers: tuple[int, ...], batch: int
    ) -> tuple[str, list[Any]] | None:
        account_id = self._account(party)
        if account_id is None:
            return None
        account = party.disk.accounts[account_id]
        aux = party.disk.aux.get(account.aux_id or b"")
        return (
            None
            if aux is None
            else (account_id, presign.tail(account.share, aux, signers, party.index, batch))
        )

    def full_sign(self) -> None:
        party, signers = self._someone()
        self._full(party, signers, self.dice.choice(self.requests))

    def _full(self, party: Party, signers: tuple[int, ...], request: SignRequest) -> None:
        tail = self._presign_tail(party, signers, 1)
        if tail is not None and self.tiny:
            account_id, values = tail
            full = [*values, request.digest, list(request.path)]
            party.propose(self.world.proposal(party.index, account_id, presign.FULL_KIND, full, self._id()))

    def sign(self) -> None:
        """One request, from stock; some are asked of several parties, or twice of the same."""
        party, signers = self._someone()
        request = self.dice.choice(self.requests)
        for _ in range(self.dice.choice((1, 1, 1, 2))):
            self._sign_with_any(party, signers, request)
        if self.dice.random() < 0.2:
            other = self.world.parties[self.dice.choice(signers)]
            self._sign_with_any(other, signers, request)

    def _sign_with_any(self, party: Party, signers: tuple[int, ...], request: SignRequest) -> None:
        account_id = self._account(party)
        if account_id is None or not party.up:
            return
        presignature = party.fresh_stock(signers, party.disk.accounts[account_id].share.key_id)
        if presignature is None:
            usable = [
                p for p in party.stock.values()
                if p.public.owner == party.index and p.id not in party.reserved
            ]  # fmt: skip
            if not usable:
                if self.dice.random() < 0.03:
                    self._full(party, signers, request)
                return
            presignature = self.dice.choice(usable)
            party.reserved.add(presignature.id)
        self.sign_with(party, presignature, request)

    def sign_with(
        self, party: Party, presignature: Presignature, request: SignRequest, tries: int = 0
    ) -> None:
        """Propose with a presignature. What failed is tried again with the same one, or another request is."""
        if not party.up or presignature.id not in party.stock:
            return
        names = [n for n, a in party.disk.accounts.items() if a.share.key_id == presignature.public.key_id]
        if not names:
            return
        share = party.disk.accounts[names[0]].share
        tau = derive(share.X, share.chain_code, request.path).tau
        try:
            e = presignature.promise(
                request.digest, request.path, tau, SeededRng((self.world.seed, self._id()))
            )
        except (PresignatureSpent, CallerError):
            return
        tail = sign.tail(presignature.id, request, tau, presignature.public.signers, e)
        proposal = self.world.proposal(party.index, names[0], sign.KIND, tail, self._id())

        def then(ended: Ended) -> None:
            if tries < 2 and (ended.error is not None or self.dice.random() < 0.1):
                following = request if self.dice.random() < 0.8 else self.dice.choice(self.requests)
                delay = self.dice.choice((0.1, 5.0, 40.0))
                self.world.scheduler.after(
                    delay, partial(self.sign_with, party, presignature, following, tries + 1)
                )

        party.propose(proposal, then)
        if self.dice.random() < 0.1:
            # At once again, for the same request or another one.
            following = request if self.dice.random() < 0.5 else self.dice.choice(self.requests)
            self.world.scheduler.after(0.1, partial(self.sign_with, party, presignature, following, 2))

    def _id(self) -> bytes:
        return self.dice.randbytes(16)


def live(setting: Setting, trace: Callable[[str], None] | None = None) -> Artefacts:
    """One life, to its end."""
    world = World(setting, trace)
    Life(world, profile_quiet=setting.quiet).prepare()
    return world.run()


def life_of(seed: int, trace: Callable[[str], None] | None = None) -> Artefacts:
    """The life that a seed gives."""
    return live(setting_of(seed), trace)
