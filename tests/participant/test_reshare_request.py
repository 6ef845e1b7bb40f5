"""The file that operators approve before an account goes to another committee."""

from __future__ import annotations

import pytest
import yaml
from node_testing import committee_of, deal
from tss_testing import SMALL_SECP

from participant.reshare_request import BadRequest, ReshareRequest

SUITES = {"secp256k1": SMALL_SECP}
OLD, NEW = committee_of(3, 2, "old"), committee_of(4, 3, "new")
REQUEST = ReshareRequest.of("main", deal(SMALL_SECP)[0], OLD, NEW, dealers=[1, 3], threshold=3)


def test_what_is_written_is_read():
    again = ReshareRequest.from_yaml(REQUEST.to_yaml(), SUITES)
    assert (again, again.request_id, again.deletions_due) == (REQUEST, REQUEST.request_id, 2)
    assert [(party.role, party.index) for party in sorted(again.seats)] == [
        *(("dealer", index) for index in (1, 3)),
        *(("new", index) for index in (1, 2, 3, 4)),
    ]


@pytest.mark.parametrize("name", sorted(yaml.safe_load(REQUEST.to_yaml())))
def test_a_field_that_is_missing_or_changed_is_found(name):
    value = yaml.safe_load(REQUEST.to_yaml())
    left = {key: known for key, known in value.items() if key != name}
    with pytest.raises(BadRequest):
        ReshareRequest.from_yaml(yaml.safe_dump(left), SUITES)
    known = value[name]
    if isinstance(known, str):
        other = "00" * (len(known) // 2) if len(known) >= 64 else known + "x"
    else:
        other = known + 1 if isinstance(known, int) else list(known)[1:]
    with pytest.raises(BadRequest):
        ReshareRequest.from_yaml(yaml.safe_dump({**value, name: other}), SUITES)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "version: 1", "a: &a 1", "\x00", "{" * 100],
    ids=["empty", "list", "little", "anchor", "nul", "deep"],
)
def test_what_is_no_request(text):
    with pytest.raises(BadRequest):
        ReshareRequest.from_yaml(text, SUITES)


def test_what_cannot_be():
    share = deal(SMALL_SECP)[0]
    with pytest.raises(BadRequest, match="has the account already"):
        ReshareRequest.of("main", share, OLD, OLD, dealers=[1, 2], threshold=2)
    with pytest.raises(BadRequest, match="1 dealers, where 2 hold enough"):
        ReshareRequest.of("main", share, OLD, NEW, dealers=[1], threshold=2)
    with pytest.raises(BadRequest, match="no holder of the account"):
        ReshareRequest.of("main", share, OLD, NEW, dealers=[1, 9], threshold=2)
    with pytest.raises(BadRequest, match="is no threshold"):
        ReshareRequest.of("main", share, OLD, NEW, dealers=[1, 2], threshold=5)
