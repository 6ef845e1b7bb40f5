"""`python -m kit.probe URL`: a health check for containers, whose images hold no HTTP client of their own.

Exit code 0 when the URL answers 200 within 4 seconds; else 1, and what it said on standard error. No proxy from the
environment is used: the URL is this container's own listener.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

SECONDS = 4


def problem(url: str) -> str | None:
    """What is wrong with the answer of `url`, or None."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return None if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        # The body of /readyz names the failing checks.
        return f"status {error.code}: {error.read(2000).decode('utf-8', 'replace')}"
    except OSError as error:
        return str(error)


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 1 or not arguments[0].startswith(("http://", "https://")):
        print("usage: python -m kit.probe URL", file=sys.stderr)  # noqa: T201 - a command line's answer
        return 2
    what = problem(arguments[0])
    if what is not None:
        print(f"{arguments[0]}: {what}", file=sys.stderr)  # noqa: T201 - a command line's answer
    return 0 if what is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
