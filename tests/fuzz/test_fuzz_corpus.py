"""Every kept input is judged as its name says: `corpus/<target>/<outcome>-...`. Among them are all findings so far."""

from __future__ import annotations

import warnings

import pytest
from fuzz_table import CORPUS, TARGETS, corpus_of

MAX_CORPUS = 300_000
"""Bytes of all kept inputs."""


def test_every_target_has_kept_inputs_and_nothing_else_is_there():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert all(corpus_of(name) for name in TARGETS)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) < MAX_CORPUS


@pytest.mark.attack("E7")
@pytest.mark.attack("E8")
@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_are_judged_as_they_were(name):
    with warnings.catch_warnings():
        # What a library says of a strange certificate is not about us.
        warnings.simplefilter("ignore")
        for file in corpus_of(name):
            assert TARGETS[name].run(file.read_bytes()) == file.name.split("-")[0], file
