"""The members' words for deleting an account."""

import pytest
from node_testing import committee_of, deal, new_store, node_keys

from participant.node.deletion import APPROVAL_SECONDS, SKEW_SECONDS, approve, approved_by, check_quorum
from participant.node.errors import InvalidRequest
from participant.store import NewShare, Origin
from tss.encoding import encode

COMMITTEE = committee_of()
NOW = 1_800_000_000
TAG = "wallet-mpc/v1 delete account"


@pytest.fixture
def records(tmp_path):
    with new_store(tmp_path) as store:
        for name in "ab":
            share = NewShare.of(name, deal(seed=name)[0])
            store.accounts.add(share, COMMITTEE.committee_id, Origin.KEYGEN)
        yield {name: store.accounts.account(name) for name in "ab"}


def test_as_many_members_as_sign_together_delete(records):
    words = [approve(records["a"], keys, NOW) for keys in node_keys()]
    assert check_quorum(words, records["a"], COMMITTEE, NOW) == [0, 1, 2]
    assert check_quorum([words[2], words[0]], records["a"], COMMITTEE, NOW) == [0, 2]
    for few in ([], words[:1], [words[1]] * 3, [words[1], approve(records["a"], node_keys()[1], NOW + 5)]):
        with pytest.raises(InvalidRequest, match="takes the approval of 2 members"):
            check_quorum(few, records["a"], COMMITTEE, NOW)


def test_every_wrong_word_is_refused(records):
    keys = node_keys()
    good = approve(records["a"], keys[0], NOW)
    stranger = node_keys(4, "others")[0]
    body = [TAG, COMMITTEE.committee_id, "a", records["a"].key_id, NOW, keys[1].identity]
    bad = {
        "is for": approve(records["b"], keys[1], NOW),
        "no member": approve(records["a"], stranger, NOW),
        "is not signed": encode([*body, keys[0].sign(encode(body))]),
        "another key": encode(
            [*(swapped := [*body[:3], bytes(32), *body[4:]]), keys[1].sign(encode(swapped))]
        ),
        "damaged": good[:-1],
        "from the future": approve(records["a"], keys[1], NOW + SKEW_SECONDS + 1),
        "older than 30 days": approve(records["a"], keys[1], NOW - APPROVAL_SECONDS - 1),
    }
    for position, other in enumerate(("another tag", bytes(32))):
        changed = [*body[:position], other, *body[position + 1 :]]
        bad["another key of that name" + " " * position] = encode([*changed, keys[1].sign(encode(changed))])
    for complaint, word in bad.items():
        with pytest.raises(InvalidRequest, match=complaint.strip()):
            check_quorum([good, word], records["a"], COMMITTEE, NOW)
    edges = [
        approve(records["a"], keys[1], NOW + SKEW_SECONDS),
        approve(records["a"], keys[2], NOW - APPROVAL_SECONDS),
    ]
    assert check_quorum(edges, records["a"], COMMITTEE, NOW) == [1, 2]
    assert approved_by([approve(records["a"], keys[1], 5)], records["a"], COMMITTEE, None) == [1]


def test_every_flipped_byte_of_a_word_is_noticed(records):
    good = approve(records["a"], node_keys()[0], NOW)
    for position in range(len(good)):
        word = good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :]
        with pytest.raises(InvalidRequest):
            approved_by([word], records["a"], COMMITTEE, NOW)
