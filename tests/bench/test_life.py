"""The key's operations that bench/life.py measures end in the key that they began with, which it checks itself."""

from __future__ import annotations

import pytest

from bench import life
from tss.params import FROST_ED25519


@pytest.mark.parametrize(("size", "to"), [((2, 3), (3, 5)), ((3, 5), (2, 3))])
def test_every_operation_has_a_line(capsys, size, to):
    life.live(life.Table(), FROST_ED25519, *size, to)
    lines = capsys.readouterr().out.splitlines()
    t, n = size
    for what in (
        f"key generation, {t} of {n}", f"refresh, {t} of {n}", f"recovery, {t} of {n}", f"{t} of {n} to {to[0]} of {to[1]}",
    ):  # fmt: skip
        assert sum(what in line and line.endswith(" kB") for line in lines) == 1


def test_shares_of_another_key_are_noticed():
    shares = life.make_key(life.Table(), FROST_ED25519, 2, 3)
    others = life.make_key(life.Table(), FROST_ED25519, 2, 3)
    with pytest.raises(RuntimeError, match="not the key's"):
        life.check_key([*shares[:2], others[2]])
