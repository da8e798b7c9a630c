"""Mutants of programs that no graph can hold: one call of a running training step is broken, wherever Python leads.

    sites = runtime.sites(make_case, seed=0)
    found = runtime.observe(make_case, "mine.py:case::runtime-detach::mine.py:12:linear:1", seed=0)

``make_case`` builds the case anew at every call. A site is a call, named by the user's line, what is called there, and the how manyeth time
within the step: ``mine.py:12:linear:1``; for operators on whole lines it is the line, ``mine.py:12``.
"""

from __future__ import annotations

from gradfuzz.engine.runtime.broken import Break, observed_by
from gradfuzz.engine.runtime.calls import Call, Calls
from gradfuzz.engine.runtime.measuring import Observed, Prepared, break_case, mutants, observe, prepare, sites
from gradfuzz.engine.runtime.operators import RuntimeOperator, runtime_operators
from gradfuzz.engine.runtime.road import RuntimeCase, RuntimeEngine, RuntimeMutation, RuntimeObservation, select, site_of, trace

__all__ = [
    "Break",
    "Call",
    "Calls",
    "Observed",
    "Prepared",
    "RuntimeCase",
    "RuntimeEngine",
    "RuntimeMutation",
    "RuntimeObservation",
    "RuntimeOperator",
    "break_case",
    "mutants",
    "observe",
    "observed_by",
    "prepare",
    "runtime_operators",
    "select",
    "site_of",
    "sites",
    "trace",
]
