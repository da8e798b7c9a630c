"""Does a detector that notices also say where? top-1, top-3 and EXAM, over the faults it flagged.

A suspect is right when it is an affected parameter (one that is not ``same``), a module that holds one (``layer1.0`` holds
``layer1.0.conv1.weight``), or the source line of the mutant. top-k: a right one is among the first k suspects. EXAM: the share of the
subject's parameters that somebody looks at, in the order of the suspects, until the first affected one, that one included; smaller is
better. Any affected parameter will do, since each shows the way.

Sources: EXAM in Wong et al. 2016, A Survey on Software Fault Localization, IEEE TSE 42(8); any one of several places and the mean rank on
ties in Pearson et al. 2017, Evaluating and Improving Fault Localization, ICSE. Tied are the parameters of one suspected module, and all
parameters that a detector did not name, which come last. The mean over all orders of m tied parameters, f of them affected, finds the
first after (m + 1) / (f + 1) looks: the mean rank (m + 1) / 2 where f is 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from gradfuzz.analysis.judgement import outcomes

COLUMNS = ("hits", "named", "top1", "top3", "exams", "exam", "exam_random")


def localisation(
    mutants: pd.DataFrame,
    verdicts: pd.DataFrame,
    parameters: pd.DataFrame,
    names: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """One row per detector (the index): how well its suspects lead to the fault, over the faults that it flagged.

    names: by subject, its live parameters. Without them nobody knows how many parameters a module holds: EXAM then leaves out the faults
    that are found through a module, and takes every other suspect for one parameter; with them it is complete.

    hits: flagged faults that affected a parameter (others have no place to find). named: of these, how many came with suspects. top1,
    top3: shares of the hits. exams: on how many hits EXAM is known; exam: its mean; exam_random: the mean on the same hits of looking
    through the parameters in random order, without which EXAM says little where many parameters are affected. NaN without hits.
    """
    rows = outcomes(mutants, verdicts)
    affected = {mutant: frozenset(given) for mutant, given in parameters.groupby("mutant")["parameter"]}
    hits = rows[(rows["expected"] == "fault") & (rows["answer"] == "flagged") & rows["mutant"].isin(list(affected))][["detector", "mutant"]]
    seen = hits.merge(verdicts[["detector", "mutant", "suspects", "rank"]], on=["detector", "mutant"])
    seen = seen.merge(mutants[["mutant", "subject", "params", "source"]], on="mutant")
    read = {text: tuple(json.loads(text)) for text in seen["suspects"].unique()}  # many verdicts name the same
    listed = [read[text] for text in seen["suspects"]]
    live = {subject: frozenset(given) for subject, given in (names or {}).items()}
    found = [
        look(suspects, rank, affected[mutant], source, count, live.get(subject))
        for suspects, rank, mutant, source, count, subject in zip(
            listed, seen["rank"], seen["mutant"], seen["source"], seen["params"], seen["subject"], strict=True
        )
    ]
    seen["named"] = [len(suspects) > 0 for suspects in listed]
    seen["place"] = [place for place, _ in found]
    seen["exam"] = np.array([exam for _, exam in found], dtype=float)
    chance = [random_exam(count, len(affected[mutant])) for count, mutant in zip(seen["params"], seen["mutant"], strict=True)]
    seen["exam_random"] = np.where(seen["exam"].notna(), np.array(chance, dtype=float), np.nan)
    seen = seen.assign(hits=1, top1=seen["place"] <= 1, top3=seen["place"] <= 3, exams=seen["exam"].notna())
    grouped = seen.groupby("detector")
    table = pd.concat([grouped[["hits", "named", "exams"]].sum(), grouped[["top1", "top3", "exam", "exam_random"]].mean()], axis=1)
    table = table.reindex(pd.Index(sorted(set(verdicts["detector"])), name="detector"))
    counts = ["hits", "named", "exams"]
    table[counts] = table[counts].fillna(0).astype(int)
    return table[list(COLUMNS)]


def random_exam(count: int, affected: int) -> float:
    """EXAM of looking through ``count`` parameters in random order, ``affected`` of them affected."""
    return (count + 1) / (affected + 1) / count if affected <= count and count else np.nan


def look(
    suspects: Sequence[str], rank: float, affected: frozenset[str], source: str, count: int, live: frozenset[str] | None
) -> tuple[float, float]:
    """Place of the first right suspect (infinite if none is), and EXAM.

    rank: the place that was stored with the verdict, over all suspects, of which the table keeps the first few only. count: parameters of
    the subject. live: their names, if known.
    """
    looked: set[str] = set()
    before = 0  # parameters looked at so far
    for place, suspect in enumerate(suspects, start=1):
        held = {name for name in live if name.startswith(f"{suspect}.")} if live is not None else set()
        if suspect in affected or (source and _same_line(suspect, source)):
            return place, _exam(before + 1, count)
        if suspect in _holders(affected):
            tied = held - looked
            return place, _exam(before + (len(tied) + 1) / (len(tied & affected) + 1), count) if held else np.nan
        fresh = (held or {suspect}) - looked
        looked |= fresh
        before += len(fresh)
    if rank > len(suspects):
        return float(rank), _exam(before + rank - len(suspects), count)
    rest = max(count - len(looked & live if live is not None else looked), len(affected))
    return np.inf, _exam(before + (rest + 1) / (len(affected) + 1), count)


def _exam(looks: float, count: int) -> float:
    """Suspects that are no live parameters are looked at in vain; that can cost more looks than there are parameters, and counts as all."""
    return min(1.0, looks / count) if count else np.nan


@lru_cache(maxsize=1024)
def _holders(affected: frozenset[str]) -> frozenset[str]:
    """The modules that hold one of them. Asked only where a suspect is none of them itself, which is rare."""
    return frozenset(module for name in affected for module in _modules(name))


def _modules(parameter: str) -> list[str]:
    parts = parameter.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _same_line(suspect: str, source: str) -> bool:
    """A mutant's source is ``file.py:line``; a checker may print the whole path."""
    return suspect == source or suspect.endswith((f"/{source}", f"\\{source}"))
