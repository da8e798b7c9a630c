"""Everything gradfuzz raises on purpose. One base class: its text is the one line that a user sees."""

from __future__ import annotations


class GradfuzzError(Exception):
    """Base of all expected failures. The command line prints ``str(error)`` and exits with 2."""


class BadInput(GradfuzzError):
    """Something the user named does not exist or has the wrong form."""


class Refused(GradfuzzError):
    """A subject that failed the baseline gate, so that nothing measured on it would count."""


class DamagedStore(GradfuzzError):
    """A campaign folder that cannot be read, is not ours, or cannot be written."""


class EngineDisagreement(GradfuzzError):
    """Two engines gave different answers for one mutant. Always a bug of gradfuzz."""
