"""The findings of the study in plain words. Every number is computed from the tables here, so that none can differ from them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from gradfuzz.analysis.families import CUT, KILLING, association, paired
from gradfuzz.report.many import Many
from gradfuzz.report.markdown import percent, table

AGAIN = "`python scripts/study.py --from-tables`"
MODES = ("train", "eval")
BENCHMARK, COUPLING = Path("results/detectors/full/leaderboard.json"), Path("results/coupling")


def findings(train: Many, still: Many, about: dict[str, Any]) -> str:
    parts = [
        "# Which architectures are fragile, and who notices",
        f"Written by {AGAIN} from the tables beside it; measured by `python scripts/study.py --work DIR` in "
        f"{about['seconds'] / 3600:.1f} hours on {about['hardware']['cores']} cores. The whole report is `report.html`.",
        *_measured(train, still, about),
        *_families(train),
        *_normalisation(train),
        *_depth(train),
        *_modes(train, still),
        *_effects(train),
        *_detectors(train),
        *_elsewhere(),
        *_threats(train),
    ]
    return "\n\n".join(parts) + "\n"


def _interval(row: dict[str, Any]) -> str:
    return f"{percent(row['low'])} to {percent(row['high'])}" if row["low"] == row["low"] else "one model"


def _p(value: float) -> str:
    return "p = -" if value != value else "p below 0.001" if value < 0.001 else f"p = {value:.2g}"


def _measured(train: Many, still: Many, about: dict[str, Any]) -> list[str]:
    rows = len(train.tables.mutants) + (len(still.tables.mutants) if still.campaigns else 0)
    providers = Counter(one.model.partition(":")[0] for one in train.campaigns)
    told = ", ".join(f"{count} of {name}" for name, count in sorted(providers.items()))
    found = [
        f"{len(train.campaigns)} models in train mode ({told}) and {len(still.campaigns)} in eval mode, {rows:,} mutants.",
        "A *killing* cut is an `insert-detach` after which a live parameter has no gradient, or backward raises. How fragile a model is, "
        "is the share of its cuts that kill. Intervals are 95 %; those over models resample models.",
    ]
    if about["refused"]:
        lines = "\n".join(f"- {model}: {reason}" for model, reason in sorted(about["refused"].items()))
        found.append(f"Not measured, with the reason:\n\n{lines}")
    return found


def _families(train: Many) -> list[str]:
    kruskal, pairs = train.comparison
    apart = pairs[pairs["p_holm"] < 0.05] if len(pairs) else pairs
    lines = [
        f"- {r['first']} against {r['second']}: {percent(r['difference'])} ({percent(r['low'])} to {percent(r['high'])}), Cliff's delta "
        f"{r['delta']:.2f}, {_p(r['p_holm'])} after Holm"
        for r in apart.to_dict("records")
    ]
    said = "\n".join(lines) if lines else "No two families can be told apart after Holm's correction."
    return [
        "## By family",
        "![Fragility by family](figures/families.svg)",
        "Table: `tables/families.csv`; every model: `tables/fragility.csv`. The family is read off the graph.",
        table(
            ("family", "models", "killing cuts, mean", "95 %"),
            ((r["family"], r["models"], percent(r["mean"]), _interval(r)) for r in train.families.to_dict("records")),
        ),
        f"Over all families (Kruskal and Wallis): {_p(kruskal)}.",
        said,
    ]


def _normalisation(train: Many) -> list[str]:
    return [
        "## By normalisation",
        "![Fragility by normalisation](figures/normalisations.svg)",
        "Table: `tables/normalisations.csv`. Normalisation and family go together, so this is no effect of its own.",
        table(
            ("normalisation", "models", "killing cuts, mean", "95 %"),
            ((r["normalisation"], r["models"], percent(r["mean"]), _interval(r)) for r in train.normalisations.to_dict("records")),
        ),
    ]


def _depth(train: Many) -> list[str]:
    rows = []
    for column, name in (("depth", "depth (calls on the longest path)"), ("skip", "share of calls that some path goes round")):
        found = association(train.fragility, column)
        rows.append(
            (name, f"{found['models']:.0f}", f"{found['rho']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}", _p(found["p_value"]))
        )
    return [
        "## Depth and skip connections",
        "![Depth and skip connections against fragility](figures/scatter.svg)",
        "Table: `tables/fragility.csv`. Spearman's rank correlation with the share of killing cuts.",
        table(("of a model", "models", "rho", "95 %", "p"), rows),
    ]


def modes(train: Many, still: Many) -> pd.DataFrame:
    """By model, over the cuts that were made in both modes: shares of them that kill and that leave a wrong gradient, and how wrong."""
    rows = []
    other = {one.model.partition(":")[2]: one for one in still.campaigns}
    for one in train.campaigns:
        provider, _, name = one.model.partition(":")
        if provider != "torchvision" or name not in other:
            continue
        cuts = [part.tables.mutants[part.tables.mutants["operator"] == CUT].set_index("site") for part in (one, other[name])]
        both = cuts[0].index.intersection(cuts[1].index)
        killing, wrong, error = ([share(part.loc[both]) for part in cuts] for share in (_killing, _wrong, _error))
        rows.append((name, len(both), *killing, *wrong, *error))
    return pd.DataFrame(rows, columns=["model", "cuts", *(f"{value}_{mode}" for value in ("killing", "wrong", "error") for mode in MODES)])


def _killing(cuts: pd.DataFrame) -> float:
    return float(cuts["effect"].isin(KILLING).mean())


def _error(cuts: pd.DataFrame) -> float:
    """Median, over the cuts, of the distance of the gradient from the right one, relative to that."""
    return float(cuts["gradient_error"].median())


def _wrong(cuts: pd.DataFrame) -> float:
    return float(((cuts["effect"] == "altered") & (cuts["cause"] == "biased")).mean())


def _modes(train: Many, still: Many) -> list[str]:
    both = modes(train, still).set_index("model")
    if both.empty:
        return []
    rows = []
    measures = {"killing": "killing cuts", "wrong": "cuts that leave a wrong gradient", "error": "the gradient that is off, in the median"}
    for value, name in measures.items():
        found = paired(both[f"{value}_train"], both[f"{value}_eval"])
        rows.append((name, f"{found['models']:.0f}", percent(found["difference"]), _interval(found), _p(found["p_value"])))
    return [
        "## Train mode against eval mode",
        "The same models, weights and cuts after `model.eval()`; the difference is train less eval, tested by Wilcoxon's signed ranks. "
        "Table: `tables/modes.csv`.",
        table(("share of", "models", "mean difference", "95 %", "p"), rows),
    ]


def _effects(train: Many) -> list[str]:
    found = train.fragility
    measured = found.dropna(subset=["silent"])
    real = train.tables.mutants[train.tables.mutants["operator"] != "none"]
    weight = real.groupby("effect")["weight"].sum() / real["weight"].sum()
    lines = "\n".join(f"- {effect}: {percent(share)}" for effect, share in weight.sort_values(ascending=False).items())
    return [
        "## What breaks do",
        f"Of the faults of a model, weighted by how many possible ones each stands for, {percent(measured['silent'].mean())} raise nothing "
        f"and warn of nothing, and {percent(measured['invisible'].mean())} leave the loss of that step as it was (means over models).",
        "![Effects by cause](figures/causes.svg)",
        f"All mutants by effect, weighted:\n\n{lines}",
    ]


def _detectors(train: Many) -> list[str]:
    found = train.detectors
    if not len(found):
        return []
    rows = (
        (
            r["detector"], percent(r["recall"]), f"{percent(r['recall_low'])} to {percent(r['recall_high'])}",
            percent(r["false_alarm_rate"]), f"{percent(r['false_alarm_rate_low'])} to {percent(r['false_alarm_rate_high'])}",
            percent(r["balanced_accuracy"]),
        )
        for r in found.to_dict("records")
    )  # fmt: skip
    return [
        "## Who notices: rules that look at the gradients of one pass",
        "Asked about every mutant of every model. Table: `tables/detectors.csv`.",
        "![Recall against false alarms](figures/recall.svg)",
        "![Average ranks with critical difference](figures/ranks.svg)",
        table(("rule", "recall", "95 %", "false alarms", "95 %", "balanced accuracy"), rows),
    ]


def _elsewhere() -> list[str]:
    parts = ["## Who notices: every detector, on the frozen set"]
    if BENCHMARK.exists():
        rows = json.loads(BENCHMARK.read_text("utf-8"))["leaderboard"]
        first = rows[:10]
        parts += [
            "The ten best by balanced accuracy of `results/detectors/full`, which has all of them, packages included "
            "(`python scripts/bench_detectors.py --full --adapters`).",
            table(
                ("detector", "recall", "false alarms", "balanced accuracy"),
                ((r["detector"], percent(r["recall"]), percent(r["false_alarm_rate"]), percent(r["balanced_accuracy"])) for r in first),
            ),
        ]
    summary = pd.read_csv(COUPLING / "summary.csv").iloc[0]
    parts += [
        "## Do mutants stand for real faults?",
        f"Of {summary['faults']} real faults, {percent(summary['exact_share'])} are some mutant of their correct side to the gradient, and "
        f"{percent(summary['pattern_or_better_share'])} at least in their pattern (`results/coupling`).",
    ]
    agreement = COUPLING / "agreement.csv"
    if agreement.exists():
        row = pd.read_csv(agreement).iloc[0]
        parts.append(
            f"Detectors rank on mutants as on real faults with Kendall's tau-b {row['tau']:.2f} ({row['low']:.2f} to {row['high']:.2f}) by "
            f"{row['score'].replace('_', ' ')}."
        )
    return parts


def _threats(train: Many) -> list[str]:
    only = [one.model for one in train.campaigns if one.tables.manifest["campaign"]["operators"]]
    return [
        "## Threats to validity",
        "- *Subjects.* Image classifiers of one library and a small corpus of our own; random weights and random data, one seed, the first "
        "step. Models of one family share authors and code, so they are less independent than the intervals take them to be.",
        "- *Sampling.* A quarter of the mutants that leave values alone, and one of each other operator and model; weights stand for the "
        f"rest. {len(only)} models have no mutants that change values, for want of time: {', '.join(only) or 'none'}.",
        "- *Operators.* They were written from real faults, but how often people make each of them is not known: shares over all operators "
        "are shares of what could be broken, not of what is.",
        "- *Truth.* Effects are those of one batch (three where a gradient is lost) and of one precision; parameters whose gradient is "
        "rounding noise are left out.",
        "- *Families* are read off the graph by rules that somebody chose (`gradfuzz/analysis/structure.py`).",
    ]
