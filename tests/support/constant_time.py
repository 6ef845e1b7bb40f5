"""Watching that secrets meet constant-time powers alone."""

from __future__ import annotations

import gmpy2

from tss.modexp import chains, own, plain, products, secret, tables

_MODULES = (chains, own, plain, products, secret, tables)


class _OnlyConstantTime:
    """gmpy2 without its variable-time powers."""

    def __getattr__(self, name):
        assert name not in ("powmod", "powmod_base_list", "powmod_exp_list"), (
            "a secret met the variable-time power"
        )
        return getattr(gmpy2, name)


def replace_gmpy2(monkeypatch, module):
    """Give all of tss.modexp another gmpy2."""
    for one in _MODULES:
        if hasattr(one, "gmpy2"):
            monkeypatch.setattr(one, "gmpy2", module)


def constant_time_only(monkeypatch):
    """From here on a variable-time power is an AssertionError."""
    replace_gmpy2(monkeypatch, _OnlyConstantTime())
