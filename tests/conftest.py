"""Rules that hold for the whole suite."""

import os
import pathlib
import signal
import sysconfig

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--installed",
        action="store_true",
        help="fail unless the packages under test come from the installed wheel",
    )


def pytest_configure(config):
    import tss

    # Whoever runs the suite in the background may have it ignored, and children inherit that: tests interrupt them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--installed"):
        site = pathlib.Path(sysconfig.get_paths()["purelib"])
        assert pathlib.Path(tss.__file__).is_relative_to(site), f"tss is imported from {tss.__file__}"
    if "TSS_VECTORS" not in os.environ:
        raise pytest.UsageError(
            "TSS_VECTORS is not set: it names the directory with the published test vectors"
        )


_internal_errors: list[str] = []


def pytest_internalerror(excrepr):
    _internal_errors.append(str(excrepr))


def pytest_unconfigure(config):
    """What a worker broke by, again and last: the runner prints its own assertion about it below the cause."""
    if _internal_errors and not hasattr(config, "workerinput"):
        print(f"the first internal error:\n{_internal_errors[0][-4000:]}")  # noqa: T201 - for whoever reads the log


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test is a failure: what it needs has to be installed."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
