import itertools

import pytest
import yaml
from node_testing import committee_of, node_keys

from participant.committee import BadCommittee, Committee, NotAMember, read_committee, write_committee
from participant.identity import Card
from tss.transcript import hash_commit


def cards(n=3, seed=0):
    return [keys.card() for keys in node_keys(n, seed)]


def test_id_is_that_of_the_specification():
    committee = committee_of()
    identities = sorted(card.identity for card in cards())
    assert committee.committee_id == hash_commit("wallet-mpc/v1", "committee", identities, 3, 2)
    assert committee_of(t=3).committee_id != committee.committee_id
    assert committee_of(n=4).committee_id != committee.committee_id


def test_index_is_the_rank_of_the_identity_whatever_the_order():
    for order in itertools.permutations(cards()):
        committee = Committee.of(order, 2)
        assert committee == committee_of()
        for index, identity in enumerate(sorted(card.identity for card in order)):
            assert committee.index_of(identity) == index
            assert committee.point_of(identity) == index + 1
    with pytest.raises(NotAMember, match="not a member of committee"):
        committee_of().index_of(bytes(32))


@pytest.mark.parametrize(
    ("n", "t", "expected"),
    [
        (1, 1, "2 to 16 members, not 1"),
        (0, 2, "2 to 16 members, not 0"),
        (17, 2, "2 to 16 members, not 17"),
        (3, 1, "threshold 1 is out of range: 2 <= t <= 3"),
        (3, 4, "threshold 4 is out of range"),
        (3, 0, "threshold 0"),
        (3, -2, "threshold -2"),
        (3, True, "threshold True is not a whole number"),
        (3, "2", "threshold '2' is not a whole number"),
        (3, None, "not a whole number"),
    ],
)
def test_impossible_committees(n, t, expected):
    with pytest.raises(BadCommittee, match=expected):
        Committee.of(cards(n), t)


def test_limits_are_possible():
    assert Committee.of(cards(16), 16).n == 16
    assert Committee.of(cards(2), 2).n == 2


def test_duplicates():
    with pytest.raises(BadCommittee, match="duplicate identity"):
        Committee.of([*cards(), cards()[1]], 2)
    shared = [Card(card.identity, cards()[0].gateway_access, card.signature) for card in cards()]
    with pytest.raises(BadCommittee, match="duplicate gateway_access"):
        Committee.of(shared, 2)
    with pytest.raises(BadCommittee, match="not sorted"):
        Committee(tuple(reversed(committee_of().members)), 2)


def test_file_round_trip(tmp_path):
    path = tmp_path / "committee.yaml"
    write_committee(path, committee_of())
    assert read_committee(path) == committee_of()
    with pytest.raises(BadCommittee, match="cannot write"):
        write_committee(path, committee_of(t=3))
    assert read_committee(path) == committee_of()


def _file(**change):
    return yaml.safe_dump(committee_of().as_dict() | change)


def _without(key):
    value = committee_of().as_dict()
    del value[key]
    return yaml.safe_dump(value)


def _members(change):
    members = [card.as_dict() for card in committee_of().members]
    change(members)
    return _file(members=members)


TEXT = committee_of().to_yaml()


def test_a_file_that_people_read():
    """The id and the threshold first, then a member a paragraph."""
    committee = committee_of()
    assert TEXT.startswith(
        f"version: 1\ncommittee: {committee.committee_id.hex()}\nthreshold: 2\nmembers:\n- "
    )
    assert TEXT.count("\n- ") == committee.n


def test_as_many_members_as_a_file_may_have():
    largest = Committee.of(cards(16), 16)
    assert Committee.from_yaml(largest.to_yaml()) == largest
    members = [card.as_dict() for card in cards(17)]
    with pytest.raises(BadCommittee, match="members is not a list of 2 to 16 cards"):
        Committee.from_yaml(yaml.safe_dump(largest.as_dict() | {"members": members}))


def test_as_long_a_file_as_is_read(tmp_path):
    path, comment = tmp_path / "committee.yaml", "#" * (64 * 1024 - len(TEXT))
    path.write_text(TEXT + comment)
    assert read_committee(path) == committee_of()
    path.write_text(TEXT + comment + "#")
    with pytest.raises(BadCommittee, match="at most"):
        read_committee(path)


def test_only_what_is_wrong_with_the_keys_is_said():
    for text, said in (
        (_without("threshold"), "missing keys: threshold"),
        (_file(extra=1), "unknown keys: extra"),
        (_without("threshold").replace("version:", "edition:"), "unknown keys: edition; missing keys: threshold, version"),
    ):  # fmt: skip
        with pytest.raises(BadCommittee) as raised:
            Committee.from_yaml(text)
        assert str(raised.value).endswith(said)
        assert str(raised.value).count("keys:") == said.count("keys:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not a mapping"),
        ("- 1", "not a mapping"),
        ("{", "not YAML"),
        (_file(extra=1, other=2), "unknown keys: extra, other"),
        (_without("threshold"), "missing keys: threshold"),
        (_without("members"), "missing keys: members"),
        (_file(version=2), "version 2"),
        (_file(version=True), "version True"),
        (_file(committee="00" * 32), "the id 0000.* is not that of these members"),
        (_file(committee="00"), "the committee id is not 64 lower-case"),
        (_file(committee=5), "64 lower-case"),
        (_file(threshold=3), "is not that of these members and threshold"),
        (_file(threshold="2"), "not a whole number"),
        (_file(threshold=2.0), "not a whole number"),
        (_file(members={}), "not a list"),
        (_file(members=[1, 2, 3]), "a card is an object"),
        (_members(lambda m: m.pop()), "is not that of these members"),
        (_members(lambda m: m.append(dict(m[0]))), "duplicate identity"),
        (_members(lambda m: m[0].update(signature="00" * 64)), "not signed by its identity key"),
        (_members(lambda m: m[0].update(note="hi")), "exactly the keys"),
        (TEXT + "threshold: 2\n", "stands twice"),
        (TEXT + "version: &a 1\n", "stands twice"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("x" * (65 << 10), "at most"),
        ("[" * 3000 + "]" * 3000, "not YAML"),
    ],
)
def test_bad_files(tmp_path, text, expected):
    path = tmp_path / "committee.yaml"
    path.write_text(text)
    with pytest.raises(BadCommittee, match=expected) as raised:
        read_committee(path)
    assert str(path) in str(raised.value)


def test_a_mapping_with_unhashable_keys(tmp_path):
    path = tmp_path / "committee.yaml"
    path.write_text("? [1, 2]\n: 3\n")
    with pytest.raises(BadCommittee):
        read_committee(path)


def test_missing_or_binary_file(tmp_path):
    with pytest.raises(BadCommittee, match=r"cannot read .*No such file"):
        read_committee(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadCommittee, match="not UTF-8"):
        read_committee(tmp_path / "binary.yaml")


def test_order_of_members_in_the_file_does_not_matter(tmp_path):
    members = [card.as_dict() for card in reversed(committee_of().members)]
    path = tmp_path / "committee.yaml"
    path.write_text(_file(members=members))
    assert read_committee(path) == committee_of()
