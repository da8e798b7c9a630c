"""Arguments in, text out. Exit codes: 0 success, 1 findings under a gate, 2 bad input (one line on stderr), 130 interrupted."""

from __future__ import annotations

import sys
from typing import NoReturn

from gradfuzz.cli.app import app, options
from gradfuzz.errors import GradfuzzError


def main() -> None:
    """The console script."""
    try:
        code = app(standalone_mode=False)
    except GradfuzzError as error:
        if options.debug:
            raise
        _refuse(str(error))
    except Exception as error:
        _refuse(_misuse(error))
    sys.exit(code or 0)


def _misuse(error: Exception) -> str:
    """What the command line's parser says of arguments that do not fit. Whatever else was raised goes on: a fault of ours."""
    if not hasattr(error, "format_message"):
        raise error
    if not sys.argv[1:]:  # its message is then the whole help
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    context = getattr(error, "ctx", None)
    return f"{error.format_message().rstrip('.')}. See `{context.command_path if context else 'gradfuzz'} --help`"


def _refuse(text: str) -> NoReturn:
    """One line, without anything that could steer a terminal."""
    line = " ".join(text.split())
    print(f"gradfuzz: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)
    sys.exit(2)


__all__ = ["main"]
