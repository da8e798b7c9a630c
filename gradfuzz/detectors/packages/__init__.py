"""Adapters of other people's gradient checkers: one file per package. docs/checkers.md says what each calls and what it cannot see.

An adapter asks the package as its own documentation does, turns its report into a verdict, and nothing more. It imports the package when it
is asked, never before: listing the detectors needs none of them. What a package raises in order to report a finding becomes a flag; every
other exception goes out as it is, since a checker that crashed has not detected.
"""

from gradfuzz.detectors.packages import (  # noqa: F401 - importing them registers them
    neural_net_checklist,
    pytest_torch,
    tinytorchtest,
    torch_audit,
    torchdiag,
    torcheck,
    torchmortem,
    torchtest,
    torchtest2,
)
