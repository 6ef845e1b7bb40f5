from __future__ import annotations

import pytest
from node_testing import committee_of, node_keys

from participant.node.ask_standing import Standing
from participant.node.driver import Identifying
from participant.node.errors import NodeFailure, PolicyRefused, ThresholdNotMet
from participant.node.membership import Membership
from participant.node.plan import Decline, Declined
from tss.envelope import PartyId, holder
from tss.errors import (
    AbortedByPeer,
    InternalError,
    OutOfDomain,
    PresignatureSpent,
    Refused,
    Timeout,
    Unattributable,
)


class Nobody:
    """A presence that has nothing to say."""

    def problem(self, party: PartyId) -> str:
        return "away" if party.index == 5 else ""


def standing(me: int = 1, threshold: int = 2, n: int = 3, asked: tuple[int, ...] = (1, 2, 3)) -> Standing:
    keys = node_keys(n)
    membership = Membership(committee_of(n, threshold), holder(me), keys[me - 1].sign, frozenset())
    membership.presence = Nobody()  # type: ignore[assignment]
    made = Standing(membership, threshold)
    for point in asked:
        made.heard(point, "")
    return made


def after(made: Standing, error: Exception, points: tuple[int, ...] = (1, 2)) -> list[int]:
    """Tell of a failure; who was marked silent."""
    silent: list[int] = []
    made.after(points, error, lambda party: silent.append(party.index))  # type: ignore[arg-type]
    return silent


def test_enough_is_the_threshold_with_oneself_among_them():
    made = standing(asked=())
    assert not made.enough
    made.heard(2, "")
    made.heard(3, "")
    assert not made.own_came_back
    assert not made.enough
    made.heard(1, "")
    assert made.enough


def test_whoever_was_asked_for_something_else_does_not_count_until_it_is_asked_the_same():
    made = standing(asked=(1,))
    made.heard(2, "was asked for another data")
    assert not made.enough
    assert "index 1: was asked for another data" in made.reasons()
    made.heard(2, "")
    assert made.enough
    assert "another data" not in made.reasons()


def test_turns_go_round_by_index():
    made = standing(asked=(3, 1))
    assert [made.whose_turn(turn) for turn in range(4)] == [1, 3, 1, 3]


@pytest.mark.parametrize(
    ("me", "t", "asked", "chosen"),
    [
        (1, 2, (1, 2, 3), (1, 2)),
        (2, 2, (1, 2, 3), (2, 3)),
        (3, 2, (1, 2, 3), (1, 3)),
        (3, 3, (1, 2, 3), (1, 2, 3)),
        (1, 2, (1, 3), (1, 3)),
    ],
)
def test_the_signers_are_those_who_follow(me, t, asked, chosen):
    assert standing(me, t, 3, asked).choose() == chosen


def test_those_who_refuse_are_out_and_those_who_are_busy_come_back():
    made = standing()
    after(made, Refused(2, "NO_RULE: not here"))
    assert made.choose() == (1, 3)
    after(made, Refused(3, "BUSY: in another proposal"), (1, 3))
    assert made.choose() is None
    assert not made.hopeless()
    assert made.come_back()
    assert made.choose() == (1, 3)
    assert not made.come_back()


def test_one_that_was_not_asked_any_more_has_to_say_so_again():
    made = standing(asked=(1, 2))
    after(made, Refused(2, "NOT_ASKED: nobody asked"))
    assert not made.enough
    assert made.hopeless()
    made.heard(2, "")
    assert made.choose() == (1, 2)


@pytest.mark.parametrize(
    ("error", "chosen"),
    [
        (PresignatureSpent("spent"), (1, 2)),
        (Refused(2, "PRESIGNATURE_UNKNOWN: started anew"), (1, 2)),
        (Refused(2, "STOPPING: being stopped"), (1, 3)),
        (AbortedByPeer(2, "because"), (1, 3)),
        (Timeout([2], "full-sign.r0"), (1, 3)),
        (Timeout([2, 3], "full-sign.r0"), None),
        (Timeout([], "full-sign.r0"), (1, 3)),
        (OutOfDomain("wrong", peer=2, check="presign.r2"), (1, 3)),
        (Unattributable("nobody knows"), (1, 3)),
        (Declined(Decline.BUSY, "later"), (1, 3)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_leaves_out_whom_it_is_due_to(error, chosen):
    made = standing()
    after(made, error)
    assert made.choose() == chosen


def test_the_silent_are_marked():
    assert after(standing(), Timeout([2, 3], "full-sign.r0")) == [2, 3]
    assert after(standing(), AbortedByPeer(2, "because")) == []


@pytest.mark.parametrize(
    "error", [Declined(Decline.ACCOUNT_FROZEN, "frozen"), InternalError("a bug"), OutOfDomain("nobody's")]
)
def test_what_is_ones_own_ends_the_request(error):
    with pytest.raises(NodeFailure):
        after(standing(), error)


def test_sets_that_are_closed_are_passed_by_while_their_members_sign_with_others():
    made = standing()
    made.close([(1, 2)])
    assert made.choose() == (1, 3)
    assert not made.hopeless()
    after(made, Refused(3, "SET_BLOCKED: somebody cheated"), (1, 3))
    assert made.choose() is None
    assert made.hopeless()


@pytest.mark.parametrize(
    "error",
    [
        Declined(Decline.SET_BLOCKED, "this node's own record"),
        Refused(2, "SET_BLOCKED: another's record"),
        Identifying(None),  # type: ignore[arg-type]
    ],
    ids=["declined", "refused", "identifying"],
)
def test_a_set_in_which_somebody_cheated_is_not_tried_again(error):
    made = standing()
    assert after(made, error, (1, 2)) == []
    assert made.choose() == (1, 3)


def test_quarantine_is_for_good():
    made = standing()
    made.leave_out([committee_of().identities[1]])
    assert made.choose() == (1, 3)
    assert "index 1: is in quarantine" in made.reasons()
    made.leave_out(committee_of().identities[1:])
    assert made.choose() is None
    assert made.hopeless()


def test_policies_that_refuse_are_named_with_their_rule():
    made = standing()
    after(made, Refused(3, "NO_RULE: this node's policy has no rule"), (1, 3))
    after(made, Refused(2, "NO_RULE: this node's policy has no rule"))
    failure = made.failure()
    assert isinstance(failure, PolicyRefused)
    assert failure.metadata == {"by": "1", "rule": "NO_RULE"}
    assert "index 1 refuses: this node's policy has no rule" in str(failure)


def test_other_reasons_say_who_is_missing():
    made = standing(1, 4, 5, (1, 2, 3))
    after(made, OutOfDomain("wrong", peer=2, check="presign.r2"), (1, 2))
    made.heard(4, "holds the account in another epoch")
    failure = made.failure()
    assert isinstance(failure, ThresholdNotMet)
    assert failure.missing == (1, 3, 4)
    text = str(failure)
    assert text.startswith("Threshold not met: 4 signers are needed")
    assert "index 1: sent what fails a check [presign.r2]" in text
    assert "index 3: holds the account in another epoch" in text
    assert "index 4: away" in text
    assert made.failure().metadata["needed"] == "4"


def test_a_member_that_nothing_is_known_of_was_not_asked():
    assert standing(asked=(1, 2)).reasons() == "index 2: was not asked"
