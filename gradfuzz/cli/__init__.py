"""Arguments in, text out. Exit codes: 0 success, 1 findings under a gate, 2 bad input (one line on stderr), 130 interrupted."""

from __future__ import annotations

import sys

from gradfuzz.cli.app import app, options
from gradfuzz.errors import GradfuzzError


def main() -> None:
    """The console script."""
    try:
        app()
    except GradfuzzError as error:
        if options.debug:
            raise
        print(f"gradfuzz: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


__all__ = ["main"]
