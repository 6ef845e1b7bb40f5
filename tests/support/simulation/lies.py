"""What a malicious party makes of honest values: fields changed in well-formed messages, and presigning done wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from session_testing import Anything, Raw, encode_any

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.cggmp24.presignature import Presignature
from tss.effects import Protocol, SessionContext
from tss.encoding import decode
from tss.errors import ProtocolError
from tss.groups import Group, Point
from tss.proposal import Proposal

# -- values ------------------------------------------------------------------------------------------------------------


def mutated(value: Any, dice: Any, group: Group) -> Any:
    """`value` with one thing in it changed: somewhere down in its lists."""
    if isinstance(value, list) and value and dice.random() > 0.06:
        place = dice.randrange(len(value))
        return [*value[:place], mutated(value[place], dice, group), *value[place + 1 :]]
    return _another(value, dice, group)


def _another(value: Any, dice: Any, group: Group) -> Any:
    if isinstance(value, list):
        if not value:
            return [0]
        place = dice.randrange(len(value))
        return dice.choice(([*value, value[-1]], value[:-1], [*value[place:], *value[:place]], [], None))
    if isinstance(value, Point):
        return dice.choice(
            (value + group.G, -value, group.G, group.identity, dice.randrange(group.q) * group.G)
        )
    if isinstance(value, bytes):
        flipped = bytearray(value or b"\0")
        flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
        return dice.choice(
            (bytes(flipped), bytes(flipped), dice.randbytes(len(value)), value[:-1], value + b"\0", None)
        )
    if isinstance(value, int):
        size = max(1, value.bit_length())
        near = (value + 1, value - 1, value ^ (1 << dice.randrange(size)), dice.getrandbits(size))
        far = (0, 1, -value, value + group.q, dice.getrandbits(size + 64), 1 << 4096)
        return dice.choice((*near, *near, *far))
    if isinstance(value, str):
        return dice.choice(("dealer", "", value + "x"))
    return dice.choice((0, b"", [], Raw(b"\x09\x00")))


def mutated_payload(payload: bytes, dice: Any, group: Group) -> bytes:
    """A payload with one field changed; one in sixteen times it is not even ENC."""
    if dice.random() < 0.06:
        return dice.choice((payload[:-1], payload + b"\0", b"", dice.randbytes(40)))
    try:
        return encode_any(mutated(decode(payload, Anything(group)), dice, group))
    except (ProtocolError, ValueError, OverflowError):
        return dice.randbytes(40)


# -- the protocol itself -----------------------------------------------------------------------------------------------


class WrongOutputs(Presigning):
    """Delta_i or S_i that is not what the masks give: everybody's checks pass, the sums do not (protocol.md 4.2)."""

    chi = False

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, psi = super().open_masks(item, received)
        if self.chi:
            item.S_j[self.ctx.me] = S = S + self.group.G
        else:
            delta = (delta + 1) % self.group.q
        return [delta, Delta, S, psi]


class WrongChi(WrongOutputs):
    chi = True


class WrongMask(Presigning):
    """A mask for one recipient that is not the one of its proof."""

    def mask(self, item: Item, j: Any) -> Any:
        mask = super().mask(item, j)
        return (
            replace(mask, D=self.keys[j].oplus(mask.D, self.keys[j].enc(1, 1)))
            if j == self.ctx.others[0]
            else mask
        )


def presigning(
    kind: type[Presigning], proposal: Proposal, share: Any, aux: Any
) -> Callable[[SessionContext], Protocol[Any]]:
    """The program of a presigning party whose steps are those of `kind`."""

    def program(ctx: SessionContext) -> Protocol[Any]:
        run = kind(ctx, share, aux, proposal.initiator)
        presignatures, _ = yield from presign._rounds(run, int(proposal.tail[8]), None)
        return presignatures

    return program


def clone(presignature: Presignature) -> Presignature:
    """What a copy of the memory is: the same presignature once more, as it was when it was fresh."""
    twin = Presignature.__new__(Presignature)
    twin.__dict__.update(presignature.__dict__)
    twin._lock = threading.Lock()
    return twin
