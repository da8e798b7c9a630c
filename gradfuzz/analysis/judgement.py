"""What a detector should have said of each mutant, and what it said. The one place where that is decided; nothing of it is stored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradfuzz.errors import BadInput
from gradfuzz.records import Effect

CONTROLS = ("none", "intent")
"""Operators that are none: the unmutated subject, and a declared stop (frozen backbone, stop-gradient)."""
FAULTS = ("nonfinite", "dead", "vanished", "stuck")
"""Effects that are faults whatever their cause. A flat zero is honest and still a fault: the parameter does not learn."""
EXPECTED = ("fault", "correct", "between", "excluded")
NO_VERDICT = ("error", "timeout", "raised", "skipped", "absent")
"""Answers that are none. error: the detector crashed. raised: backward raised, so there was nothing to look at. absent: it has no row."""
NOT_ASKED = ("skipped", "absent")
ANSWERS = ("flagged", "quiet", *NO_VERDICT)


def expected(mutants: pd.DataFrame) -> pd.Series:
    """What a detector is asked to say of each mutant, in the order and with the index of ``mutants``.

    fault: ``nonfinite``, ``dead``, ``vanished``, ``stuck``, and ``altered`` where the gradient is not that of the function: cause
    ``biased``, or ``underflow`` and not faithful. correct: controls, declared intent and ``equivalent``. between: neither hit nor false
    alarm, whatever a detector says: ``altered`` for another cause (the function changed and its gradient is honest, so no look at
    gradients can tell), ``raises`` (nobody needs a checker for it), ``unstable``. excluded: ``invalid``, and mutants whose own run
    crashed or timed out (``status`` other than ``ok``).

    Columns used: operator, effect, cause, faithful, status. Raises ``BadInput`` for an effect that does not exist.
    """
    effect, cause = mutants["effect"], mutants["cause"]
    excluded = (mutants["status"] != "ok") | (effect == "invalid")
    unknown = sorted(set(effect[~excluded]) - {kind.value for kind in Effect})
    if unknown:
        raise BadInput(
            f"the table of mutants has the effect '{unknown[0]}', which gradfuzz does not know: was it written by another version?"
        )
    unfaithful = ~mutants["faithful"].astype("boolean").fillna(True).astype(bool)
    wrong = (effect == "altered") & ((cause == "biased") | ((cause == "underflow") & unfaithful))
    correct = mutants["operator"].isin(CONTROLS) | (effect == "equivalent")
    named = np.select([excluded, correct, effect.isin(FAULTS) | wrong], ["excluded", "correct", "fault"], "between")
    return pd.Series(named, index=mutants.index, name="expected", dtype="str")


def outcomes(mutants: pd.DataFrame, verdicts: pd.DataFrame, weights: pd.Series | None = None) -> pd.DataFrame:
    """One row for every detector and every mutant that is not excluded, whether or not there is a verdict.

    weights: sampling weight by mutant, zero or more; one for each where left out. Columns: detector, mutant, subject, effect, cause,
    expected, answer, weight. answer is ``flagged`` or ``quiet`` where the detector gave a verdict, else one of ``NO_VERDICT``: a crash, a
    timeout or a skip is never a detection, even if the row says flagged. Sorted by detector and mutant.

    Raises ``BadInput`` where the tables contradict each other.
    """
    _check(mutants, verdicts)
    asked = mutants[["mutant", "subject", "effect", "cause"]].assign(expected=expected(mutants), weight=1.0)
    if weights is not None:
        asked["weight"] = _weights(weights, asked["mutant"])
    asked = asked[asked["expected"] != "excluded"].sort_values("mutant", ignore_index=True)
    said = np.where(verdicts["flagged"].astype("boolean").fillna(False).astype(bool), "flagged", "quiet")
    answer = pd.Series(
        np.where(verdicts["status"] == "ok", said, verdicts["status"]),
        index=pd.MultiIndex.from_frame(verdicts[["detector", "mutant"]]),
        dtype="str",
    )
    names = sorted(set(verdicts["detector"]))
    pairs = pd.MultiIndex.from_product([names, asked["mutant"]], names=["detector", "mutant"])
    rows = pd.concat([asked] * len(names), ignore_index=True) if names else asked.iloc[:0].copy()
    rows.insert(0, "detector", pairs.get_level_values("detector").astype("str"))
    rows["answer"] = answer.reindex(pairs).fillna("absent").to_numpy()
    return rows[["detector", "mutant", "subject", "effect", "cause", "expected", "answer", "weight"]]


def _check(mutants: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    twice = mutants["mutant"][mutants["mutant"].duplicated()]
    if len(twice):
        raise BadInput(f"the table of mutants holds {twice.iloc[0]} twice: give each mutant one row")
    doubled = verdicts[verdicts.duplicated(["detector", "mutant"])]
    if len(doubled):
        raise BadInput(f"the table of verdicts holds '{doubled['detector'].iloc[0]}' on {doubled['mutant'].iloc[0]} twice: keep one row")
    stray = verdicts["mutant"][~verdicts["mutant"].isin(mutants["mutant"])]
    if len(stray):
        raise BadInput(f"there is a verdict on {stray.iloc[0]}, which is not in the table of mutants: give the tables of one benchmark")
    unknown = sorted(set(verdicts["status"]) - {"ok", *NO_VERDICT})
    if unknown:
        raise BadInput(f"a verdict has the status '{unknown[0]}': it must be ok, {', '.join(NO_VERDICT)}")


def _weights(weights: pd.Series, names: pd.Series) -> np.ndarray:
    found = weights.reindex(names).to_numpy(dtype=float)
    wrong = ~np.isfinite(found) | (found < 0)
    if wrong.any():
        raise BadInput(f"the weight of {names[wrong].iloc[0]} is {found[wrong][0]}: give every mutant a finite weight of zero or more")
    return found


def confusion(rows: pd.DataFrame) -> pd.DataFrame:
    """The confusion table of ``outcomes``, long: detector, expected, answer, count, weight. Every combination has a row, zeros too."""
    every = pd.MultiIndex.from_product([sorted(set(rows["detector"])), EXPECTED[:3], ANSWERS], names=["detector", "expected", "answer"])
    grouped = rows.groupby(["detector", "expected", "answer"])["weight"]
    found = pd.DataFrame({"count": grouped.size(), "weight": grouped.sum()}).reindex(every, fill_value=0)
    return found.reset_index()


def misses(mutants: pd.DataFrame, verdicts: pd.DataFrame, detector: str) -> pd.DataFrame:
    """The faults that a detector did not notice, smallest subject first (by ``params``), then by subject and mutant.

    Columns: mutant, subject, params, operator, effect, cause, module, source, and answer, which is quiet or one of ``NO_VERDICT``.
    Raises ``BadInput`` for a detector without verdicts.
    """
    if not (verdicts["detector"] == detector).any():
        known = ", ".join(sorted(set(verdicts["detector"]))) or "none"
        raise BadInput(f"there is no verdict of a detector '{detector}' in these tables: they have {known}")
    rows = outcomes(mutants, verdicts[verdicts["detector"] == detector])
    missed = rows[(rows["expected"] == "fault") & (rows["answer"] != "flagged")][["mutant", "answer"]]
    about = mutants[["mutant", "subject", "params", "operator", "effect", "cause", "module", "source"]]
    return about.merge(missed, on="mutant").sort_values(["params", "subject", "mutant"], ignore_index=True)
