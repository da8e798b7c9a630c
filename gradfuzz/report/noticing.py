"""Who flagged which mutant, as one table of bits in the order of the table of mutants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradfuzz.store import Tables


@dataclass(frozen=True)
class Noticing:
    """flagged, judged: (mutants, detectors), True where a detector flagged, or gave a verdict at all. A crash is neither."""

    detectors: tuple[str, ...]
    flagged: NDArray[np.bool_]
    judged: NDArray[np.bool_]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many detectors flagged each mutant."""
        return self.flagged.sum(axis=1, dtype=np.int64)

    @cached_property
    def asked(self) -> NDArray[np.int64]:
        """How many gave a verdict on each mutant."""
        return self.judged.sum(axis=1, dtype=np.int64)

    def who(self, row: int) -> list[str]:
        return [self.detectors[place] for place in np.flatnonzero(self.flagged[row])]

    def patterns(self) -> tuple[NDArray[np.int64], list[list[int]]]:
        """For each mutant the number of its pattern, and for each pattern the numbers of the detectors that flag: few differ."""
        packed = np.packbits(self.flagged, axis=1)
        distinct, number = np.unique(packed, axis=0, return_inverse=True)
        bits = np.unpackbits(distinct, axis=1, count=len(self.detectors)) if len(self.detectors) else distinct
        return number.reshape(-1).astype(np.int64), [np.flatnonzero(row).tolist() for row in bits]


def noticing(tables: Tables) -> Noticing:
    given = tables.verdicts[tables.verdicts["status"] == "ok"]
    names = sorted(set(tables.verdicts["detector"]))
    rows = pd.Index(tables.mutants["mutant"]).get_indexer(pd.Index(given["mutant"]))
    columns = pd.Index(names).get_indexer(pd.Index(given["detector"]))
    known = rows >= 0
    flagged, judged = (np.zeros((len(tables.mutants), len(names)), dtype=bool) for _ in range(2))
    judged[rows[known], columns[known]] = True
    flagged[rows[known], columns[known]] = given["flagged"].fillna(False).to_numpy(dtype=bool)[known]
    return Noticing(tuple(names), flagged, judged)
