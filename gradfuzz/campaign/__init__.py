"""Plan, observe, judge, append: every mutant of some subjects through the one road, by several workers, with resume.

``settings``: what is asked. ``plan``: which mutants. ``measure``: one of them. ``worker``: where they run. ``calls``: what travels.
``state``: one campaign in the coordinating process. ``run``: handing out and writing down. ``identity``: what is stale.
"""

from __future__ import annotations

from gradfuzz.campaign.identity import describe, source_hash
from gradfuzz.campaign.measure import handed_over, judge_all, make_engine, measure_task, one_thread, rows_of, verify
from gradfuzz.campaign.plan import Task, few_sites, plan, sample
from gradfuzz.campaign.progress import Progress, Silent
from gradfuzz.campaign.run import Outcome, run, run_all
from gradfuzz.campaign.settings import CONTROL, ENGINES, Execution, Settings, check_engine, cores

__all__ = [
    "CONTROL",
    "ENGINES",
    "Execution",
    "Outcome",
    "Progress",
    "Settings",
    "Silent",
    "Task",
    "check_engine",
    "cores",
    "describe",
    "few_sites",
    "handed_over",
    "judge_all",
    "make_engine",
    "measure_task",
    "one_thread",
    "plan",
    "rows_of",
    "run",
    "run_all",
    "sample",
    "source_hash",
    "verify",
]
