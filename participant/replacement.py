"""A new identity in a member's place, for a node that was lost with its own.

A member's index is the rank of its identity, and shares are of a place. So that nobody else's changes, the identity is drawn
until it falls between its neighbours: identities are public, and that costs their secrecy nothing.
"""

from __future__ import annotations

import os
from typing import Final

from participant.committee import BadCommittee, Committee
from participant.identity import Card, NodeKeys
from tss.rand import Rng

MAX_TRIES: Final = 1 << 22
"""Minutes. Of 16 members' identities two neighbours are closer than this finds with a chance of some 2^-13."""


def keys_for_place(committee: Committee, index: int, rng: Rng = os.urandom) -> NodeKeys:
    """Fresh keys that have this index, from 0, when they replace the member there. Raises BadCommittee."""
    identities = committee.identities
    if not 0 <= index < committee.n:
        raise BadCommittee(f"index {index} is no place of the committee, which has 0 to {committee.n - 1}")
    below = identities[index - 1] if index else None
    above = identities[index + 1] if index + 1 < committee.n else None
    for _ in range(MAX_TRIES):
        keys = NodeKeys.generate(rng)
        fits = (below is None or below < keys.identity) and (above is None or keys.identity < above)
        if fits and keys.identity != identities[index]:
            return keys
    raise BadCommittee(
        f"the identities beside index {index} are so close that none was found between them: reshare to a committee with a "
        "new member instead"
    )


def with_member(committee: Committee, index: int, card: Card) -> Committee:
    """The committee with this card at `index`, and everybody else as before. Raises BadCommittee."""
    cards = [known for place, known in enumerate(committee.members) if place != index]
    new = Committee.of([*cards, card], committee.threshold)
    if new.index_of(card.identity) != index:
        raise BadCommittee(f"this identity would not have index {index}: make one for the place")
    return new
