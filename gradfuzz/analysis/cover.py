"""The smallest set of detectors that covers what all of them together cover, with or without a false-alarm budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import block_array, eye_array

from gradfuzz.analysis.complementarity import flags
from gradfuzz.errors import BadInput

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Cover:
    """detectors: the set; by name if exact, else in the order in which the greedy choice took them.

    covered: faults that some of them flags. coverable: faults that some detector flags; a budget can keep covered below it. faults: all.
    false_alarms: correct cases that some of them flags, of ``correct``. exact: an integer program proved that no set within the budget
    covers more, none that covers as much is smaller, and none as small raises fewer false alarms; False where nothing was proved.
    """

    detectors: tuple[str, ...]
    covered: int
    coverable: int
    faults: int
    false_alarms: int
    correct: int
    exact: bool


def smallest_cover(rows: pd.DataFrame, budget: float = 1.0, nodes: int = 10_000) -> Cover:
    """The smallest set of detectors that together flag as many faults as can be had within the budget. Exact, by integer programming.

    budget: largest share of the correct cases that the set may flag, where one is flagged if any detector of the set flags it. nodes: how
    many nodes each search may visit, a limit that is the same on every machine; where it ends a search, the better of what was found and
    the greedy choice is given, with ``exact`` False.
    """
    caught, alarms, names, most = _problem(rows, budget)
    chosen, proved = _solve(caught, alarms, most, nodes)
    found = _cover(caught, alarms, names, [int(place) for place in np.flatnonzero(chosen)], exact=proved)
    if proved:
        return found
    return min(found, greedy_cover(rows, budget), key=lambda one: (-one.covered, len(one.detectors), one.false_alarms))


def greedy_cover(rows: pd.DataFrame, budget: float = 1.0) -> Cover:
    """Always the detector that adds most faults and keeps within the budget; then fewer new false alarms, then the first name.

    The order is instructive, the set may be larger than needed: by a factor of 1 + ln(faults) at most without a budget (Chvátal 1979,
    Mathematics of Operations Research 4(3)).
    """
    caught, alarms, names, most = _problem(rows, budget)
    chosen: list[int] = []
    covered, alarmed = np.zeros(len(caught), dtype=bool), np.zeros(len(alarms), dtype=bool)
    while True:
        gain = (caught & ~covered[:, None]).sum(axis=0)
        price = (alarms & ~alarmed[:, None]).sum(axis=0)
        gain = np.where(alarmed.sum() + price <= most, gain, 0)
        if not len(names) or gain.max() == 0:
            return _cover(caught, alarms, names, chosen, exact=False)
        best = int(np.lexsort((np.arange(len(names)), price, -gain))[0])
        chosen.append(best)
        covered |= caught[:, best]
        alarmed |= alarms[:, best]


def _problem(rows: pd.DataFrame, budget: float) -> tuple[Flags, Flags, list[str], int]:
    if not 0 <= budget <= 1:
        raise BadInput(f"the false-alarm budget is a share of the correct cases, between 0 and 1, got {budget}")
    caught, alarms = flags(rows, "fault"), flags(rows, "correct")
    most = int(np.floor(budget * len(alarms) + 1e-9))
    return caught.to_numpy(dtype=bool), alarms.to_numpy(dtype=bool), [str(name) for name in caught.columns], most


def _cover(caught: Flags, alarms: Flags, names: list[str], chosen: list[int], *, exact: bool) -> Cover:
    return Cover(
        tuple(names[place] for place in chosen),
        int(caught[:, chosen].any(axis=1).sum()),
        int(caught.any(axis=1).sum()),
        len(caught),
        int(alarms[:, chosen].any(axis=1).sum()),
        len(alarms),
        exact,
    )


def _patterns(table: Flags) -> tuple[Flags, NDArray[np.int64]]:
    """The distinct rows in which somebody flagged, and how often each occurs: far fewer than there are mutants."""
    kept, counts = np.unique(table[table.any(axis=1)], axis=0, return_counts=True)
    return kept, counts.astype(np.int64)


def _solve(caught: Flags, alarms: Flags, most: int, nodes: int) -> tuple[Flags, bool]:
    """Two integer programs over x (detector is chosen), z (pattern of faults is covered), y (pattern of correct cases is flagged).

    z <= sum of its x; y >= each of its x; sum of y <= budget. First the largest sum of z; then, with that sum held, the fewest detectors
    and among those the fewest false alarms. Only x need be declared whole: the rest follows. Returns x, and whether it is proved optimal.
    """
    faults, many = _patterns(caught)
    correct, often = _patterns(alarms)
    count, zs, ys = caught.shape[1], len(faults), len(correct)
    if not zs:
        return np.zeros(count, dtype=bool), True
    pattern, detector = np.nonzero(correct)
    flagged = np.zeros((len(pattern), count))
    flagged[np.arange(len(pattern)), detector] = -1
    linked = np.zeros((len(pattern), ys))
    linked[np.arange(len(pattern)), pattern] = 1
    blocks = [[faults.astype(float), -eye_array(zs), None], [flagged, None, linked]] if ys else [[faults.astype(float), -eye_array(zs)]]
    rules = [LinearConstraint(block_array(blocks, format="csr"), 0, np.inf)]
    x, z, y = (np.concatenate([np.full(count, a), b * many, c * often]) for a, b, c in ((1.0, 0, 0), (0.0, 1, 0), (0.0, 0, 1)))
    rules.append(LinearConstraint(y[None, :], 0, most))
    widest, proved = _optimum(-z, rules, count, nodes)
    rules.append(LinearConstraint(z[None, :], int(many[faults[:, widest].any(axis=1)].sum()), np.inf))
    chosen, proved_too = _optimum((often.sum() + 1) * x + y, rules, count, nodes)
    return (chosen if proved_too or chosen.any() else widest), proved and proved_too


def _optimum(cost: NDArray[np.float64], rules: list[LinearConstraint], whole: int, nodes: int) -> tuple[Flags, bool]:
    """The first ``whole`` variables, which are 0 or 1, at the optimum; or at the best point found, none if there is none, and False."""
    found = milp(
        cost,
        constraints=rules,
        integrality=(np.arange(len(cost)) < whole).astype(int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0, "node_limit": nodes},
    )
    if found.status in (2, 3):  # infeasible or unbounded, and the empty set is always feasible; the others are limits
        raise RuntimeError(f"the integer program for the smallest set of detectors was not solved: {found.message}")
    return (np.zeros(whole, dtype=bool) if found.x is None else found.x[:whole] > 0.5), found.status == 0
