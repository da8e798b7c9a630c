"""Fragility over many models: one row per model with intervals, families compared with the model as the unit of resampling."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kruskal, mannwhitneyu, rankdata, spearmanr, wilcoxon
from statsmodels.stats.multitest import multipletests

from gradfuzz.analysis.fragility import NOTICED_BY_ITSELF
from gradfuzz.analysis.intervals import LEVEL, Array, percentiles, wilson
from gradfuzz.analysis.judgement import expected
from gradfuzz.analysis.structure import Structure
from gradfuzz.store import Tables

REPLICATES = 2000
CUT = "insert-detach"
KILLING = ("dead", "raises")
UNKNOWN = "unknown"


def fragility_row(tables: Tables, structure: Structure | None = None, *, seed: int = 0) -> dict[str, Any]:
    """One model. Shares between 0 and 1, NaN where nothing could be counted.

    killing: share of the cuts (insert-detach, per value and per single use) that take the gradient of a live parameter away or make
    backward raise, with Wilson's interval. weights_lost: mean share of the live weights that lose their gradient, over the cuts that do not
    raise, with a percentile bootstrap over cuts. wrong: share of the cuts after which a gradient is there and biased. silent, invisible:
    shares of the faults of all operators, weighted by how many possible mutants each stands for. Intervals are about other places of this
    model, not about other models. depth, skip, family, normalisation: of ``structure``.
    """
    mutants = tables.mutants[tables.mutants["operator"] != "none"]
    cuts = mutants[mutants["operator"] == CUT]
    quiet = cuts[~cuts["effect"].isin(NOTICED_BY_ITSELF)]
    lost = (quiet["numel_lost"] / max(tables.manifest["live_numel"], 1)).to_numpy(dtype=float)
    killing = cuts["effect"].isin(KILLING).to_numpy()
    low, high = wilson(np.array([killing.sum()]), np.array([len(cuts)]))
    faults = mutants[expected(mutants) == "fault"]
    weight = faults["weight"].to_numpy(dtype=float)
    silent = faults["silent"].fillna(False).to_numpy(dtype=bool)
    invisible = silent & ~faults["loss_changed"].fillna(True).to_numpy(dtype=bool)
    lost_low, lost_high = bootstrap_mean(lost, seed=seed)
    about = structure or Structure(0, 0, float("nan"), UNKNOWN, UNKNOWN)
    return {
        "model": tables.manifest["campaign"]["model"],
        "family": about.family,
        "normalisation": about.normalisation,
        "depth": about.depth,
        "skip": about.skip,
        "parameters": tables.manifest["live_parameters"],
        "weights": tables.manifest["live_numel"],
        "cuts": len(cuts),
        "killing": float(killing.mean()) if len(cuts) else float("nan"),
        "killing_low": float(low[0]),
        "killing_high": float(high[0]),
        "weights_lost": float(lost.mean()) if len(lost) else float("nan"),
        "weights_lost_low": lost_low,
        "weights_lost_high": lost_high,
        "wrong": float(((cuts["effect"] == "altered") & (cuts["cause"] == "biased")).mean()) if len(cuts) else float("nan"),
        "mutants": len(mutants),
        "distinct": int(mutants["signature"].nunique()),
        "faults": len(faults),
        "silent": weighted_share(silent, weight),
        "invisible": weighted_share(invisible, weight),
        "seconds": float(tables.manifest.get("seconds", float("nan"))),
        "seconds_per_mutant": float(mutants["seconds"].mean()) if len(mutants) else float("nan"),
    }


def weighted_share(part: Array, weight: Array) -> float:
    return float(weight[part].sum() / weight.sum()) if weight.sum() > 0 else float("nan")


def bootstrap_mean(values: Array, *, seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of the mean; NaN with fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(0, len(values), (REPLICATES, len(values)))
    low, high = percentiles(values[drawn].mean(axis=1)[:, None], len(values), level)
    return float(low[0]), float(high[0])


def by_group(table: pd.DataFrame, column: str, value: str = "killing") -> pd.DataFrame:
    """Mean of ``value`` over the models of each group, largest first, with a bootstrap interval that resamples models."""
    rows = []
    for name, part in table.dropna(subset=[value]).groupby(column):
        values = part[value].to_numpy(dtype=float)
        low, high = bootstrap_mean(values)
        rows.append({column: name, "models": len(values), "mean": float(values.mean()), "low": low, "high": high})
    found = pd.DataFrame(rows, columns=[column, "models", "mean", "low", "high"])
    return found.sort_values(["mean", column], ascending=[False, True], ignore_index=True)


def compare_groups(table: pd.DataFrame, column: str, value: str = "killing") -> tuple[float, pd.DataFrame]:
    """The p-value of Kruskal and Wallis over all groups of two models or more, and every pair of them.

    Columns: first, second; difference of the means with its bootstrap interval; delta: Cliff's, the share of pairs of models in which the
    first is larger less the share in which it is smaller (Cliff 1993, Psychological Bulletin 114(3)); p_value: Mann and Whitney's;
    p_holm: corrected over all pairs (Holm 1979). NaN with fewer than two groups.
    """
    groups: Mapping[Any, Array] = {
        name: part[value].to_numpy(dtype=float) for name, part in table.dropna(subset=[value]).groupby(column) if len(part) > 1
    }
    rows = [_pair(one, other, groups[one], groups[other]) for one, other in combinations(sorted(groups), 2)]
    names = ["first", "second", "difference", "low", "high", "delta", "p_value"]
    found = pd.DataFrame(rows, columns=names)
    found["p_holm"] = multipletests(found["p_value"], method="holm")[1] if len(found) else found["p_value"]
    different = len(groups) > 1 and len({number for values in groups.values() for number in values}) > 1
    return (float(kruskal(*groups.values()).pvalue) if different else float("nan")), found


def _pair(one: str, other: str, a: Array, b: Array) -> dict[str, Any]:
    random = np.random.default_rng(0)
    means = [values[random.integers(0, len(values), (REPLICATES, len(values)))].mean(axis=1) for values in (a, b)]
    low, high = np.quantile(means[0] - means[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    sign = np.sign(a[:, None] - b[None, :])
    return {
        "first": one,
        "second": other,
        "difference": float(a.mean() - b.mean()),
        "low": float(low),
        "high": float(high),
        "delta": float(sign.mean()),
        "p_value": float(mannwhitneyu(a, b).pvalue),
    }


def association(table: pd.DataFrame, column: str, value: str = "killing", *, seed: int = 0) -> dict[str, float]:
    """Spearman's rank correlation over models, with a percentile interval of resampled models and its p-value: rho, low, high, p_value."""
    both = table[[column, value]].dropna().to_numpy(dtype=float)
    if len(both) < 3:
        return dict.fromkeys(("rho", "low", "high", "p_value"), float("nan")) | {"models": len(both)}
    whole = spearmanr(both[:, 0], both[:, 1])
    random = np.random.default_rng(seed)
    drawn = rankdata(both[random.integers(0, len(both), (REPLICATES, len(both)))], axis=1)
    apart = drawn - drawn.mean(axis=1, keepdims=True)
    product, sizes = (apart[..., 0] * apart[..., 1]).sum(axis=1), np.sqrt((apart**2).sum(axis=1)).prod(axis=1)
    rho = product[sizes > 0] / sizes[sizes > 0]
    low, high = np.quantile(rho, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"rho": float(whole.statistic), "low": float(low), "high": float(high), "p_value": float(whole.pvalue), "models": len(both)}


def paired(first: pd.Series, second: pd.Series, *, seed: int = 0) -> dict[str, float]:
    """The mean difference of two measurements of the same models, by name: difference, low, high (models resampled), p_value (Wilcoxon's
    signed ranks), models.
    """
    both = pd.concat([first, second], axis=1, join="inner").dropna().to_numpy(dtype=float)
    apart = both[:, 0] - both[:, 1]
    low, high = bootstrap_mean(apart, seed=seed)
    tested = float(wilcoxon(apart).pvalue) if len(apart) > 1 and apart.any() else float("nan")
    mean = float(apart.mean()) if len(apart) else float("nan")
    return {"difference": mean, "low": low, "high": high, "p_value": tested, "models": len(apart)}
