"""Watching that secrets meet constant-time powers alone."""

from __future__ import annotations

import sys

import gmpy2

from tss.modexp.backend import Backend, available


class _OnlyConstantTime:
    """gmpy2 without its variable-time powers."""

    def __getattr__(self, name):
        assert name not in ("powmod", "powmod_base_list", "powmod_exp_list"), (
            "a secret met the variable-time power"
        )
        return getattr(gmpy2, name)


def replace_gmpy2(monkeypatch, module):
    """Give all of tss.modexp another gmpy2."""
    for name, one in list(sys.modules.items()):
        if name.startswith("tss.modexp.") and hasattr(one, "gmpy2"):
            monkeypatch.setattr(one, "gmpy2", module)


def constant_time_only(monkeypatch):
    """From here on a variable-time power is an AssertionError, whichever library would compute it."""

    def refused(*_):
        raise AssertionError("a secret met the variable-time power")

    replace_gmpy2(monkeypatch, _OnlyConstantTime())
    for kind in {type(backend) for backend in available().values()} | {Backend}:
        for name in ("power", "product_of_two"):
            monkeypatch.setattr(kind, name, refused)
