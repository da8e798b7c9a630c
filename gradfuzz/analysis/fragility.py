"""How fragile one model is: what cuts do to it, and how much of that anybody would see."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from gradfuzz.analysis.judgement import expected
from gradfuzz.store import Tables

NOTICED_BY_ITSELF = ("invalid", "raises")
EFFECTS = ("invalid", "raises", "nonfinite", "dead", "vanished", "altered", "stuck", "equivalent", "unstable")


def is_fault(mutants: pd.DataFrame) -> pd.Series:
    """What a detector is asked to notice; see ``judgement.expected``."""
    return expected(mutants) == "fault"


def effects_by_operator(mutants: pd.DataFrame) -> pd.DataFrame:
    """Counts, one row per operator and one column per effect that occurs, worst effect first."""
    real = mutants[(mutants.operator != "none") & (mutants.status == "ok")]
    counts = pd.crosstab([real.family, real.operator], real.effect)
    return counts[[effect for effect in EFFECTS if effect in counts.columns]]


@dataclass(frozen=True)
class Fragility:
    """Shares between 0 and 1, NaN where nothing could be counted.

    killing: share of cut sites (insert-detach, per node and per edge) whose cut takes the gradient of a live parameter away or makes
    backward raise. weights_lost: mean share of the live weights that lose their gradient, over the cuts that do not raise. silent,
    invisible: shares of the faults, over all operators. mutants, faults, distinct: how many there are; distinct counts different
    signatures.
    """

    cuts: int
    killing: float
    weights_lost: float
    mutants: int
    distinct: int
    faults: int
    silent: float
    invisible: float


def fragility(tables: Tables) -> Fragility:
    measured = tables.mutants[tables.mutants.status == "ok"]  # what crashed or ran out of time has no truth
    mutants = measured[measured.operator != "none"]
    cuts = mutants[mutants.operator == "insert-detach"]
    quiet = cuts[~cuts.effect.isin(NOTICED_BY_ITSELF)]
    faults = mutants[is_fault(mutants)]
    silent = faults.silent.astype(bool)
    return Fragility(
        cuts=len(cuts),
        killing=float(cuts.effect.isin(("dead", "raises")).mean()) if len(cuts) else float("nan"),
        weights_lost=float((quiet.numel_lost / tables.manifest["live_numel"]).mean()) if len(quiet) else float("nan"),
        mutants=len(mutants),
        distinct=int(mutants.signature.nunique()),
        faults=len(faults),
        silent=float(silent.mean()) if len(faults) else float("nan"),
        invisible=float((silent & ~faults.loss_changed.astype(bool)).mean()) if len(faults) else float("nan"),
    )


def most_damaging(mutants: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The silent faults that cost most weights their gradient, then those with the largest gradient error; one per distinct effect."""
    faults = mutants[is_fault(mutants) & mutants.silent.astype(bool)].drop_duplicates("signature")
    order = faults.sort_values(["numel_lost", "gradient_error", "mutant"], ascending=[False, False, True], kind="stable")
    return order.head(count)


def verdicts_by_detector(tables: Tables) -> pd.DataFrame:
    """Per detector: faults flagged of all faults, correct cases flagged of all correct ones (controls and equivalents), and crashes."""
    mutants = tables.mutants.set_index("mutant")
    wanted = expected(mutants)
    fault, correct = wanted == "fault", wanted == "correct"
    rows = []
    for name, given in tables.verdicts.groupby("detector", sort=True):
        flagged = given.set_index("mutant").flagged.astype(bool)
        judged = fault.reindex(flagged.index)
        fine = correct.reindex(flagged.index)
        rows.append(
            {
                "detector": name,
                "faults_flagged": int((flagged & judged).sum()),
                "faults": int(judged.sum()),
                "false_alarms": int((flagged & fine).sum()),
                "correct": int(fine.sum()),
                "errors": int((given.status == "error").sum()),
            }
        )
    return pd.DataFrame(rows, columns=["detector", "faults_flagged", "faults", "false_alarms", "correct", "errors"])
