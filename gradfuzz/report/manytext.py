"""``report.md`` over many campaigns."""

from __future__ import annotations

from gradfuzz.report import words
from gradfuzz.report.many import Many
from gradfuzz.report.manypage import ranks_text
from gradfuzz.report.markdown import percent, table


def render(many: Many) -> str:
    kruskal, pairs = many.comparison
    parts = [
        f"# {len(many.campaigns)} models",
        words.FAULT,
        "## Fragility",
        words.FRAGILITY,
        table(
            ("model", "family", "depth", "cuts", "killing", "95 %", "weights lost", "95 %", "silent", "invisible"),
            (
                (
                    r["model"], r["family"], r["depth"], r["cuts"], percent(r["killing"]), _range(r["killing_low"], r["killing_high"]),
                    percent(r["weights_lost"]), _range(r["weights_lost_low"], r["weights_lost_high"]), percent(r["silent"]),
                    percent(r["invisible"]),
                )
                for r in many.fragility.to_dict("records")
            ),
        ),
        "## By family",
        table(
            ("family", "models", "killing cuts, mean", "95 %, resampling models"),
            ((r["family"], r["models"], percent(r["mean"]), _range(r["low"], r["high"])) for r in many.families.to_dict("records")),
        ),
    ]  # fmt: skip
    if len(pairs):
        parts += [
            f"Kruskal and Wallis: p = {kruskal:.3g}. Pairs by Mann and Whitney, corrected after Holm; delta is Cliff's.",
            table(
                ("first", "second", "difference", "95 %", "delta", "p, Holm"),
                (
                    (
                        r["first"],
                        r["second"],
                        percent(r["difference"]),
                        _range(r["low"], r["high"]),
                        f"{r['delta']:.2f}",
                        f"{r['p_holm']:.3g}",
                    )
                    for r in pairs.to_dict("records")
                ),
            ),
        ]
    parts.append("## Detectors")
    if len(many.detectors):
        parts += [
            table(
                ("detector", "recall", "95 %, resampling models", "false alarms", "95 %", "balanced accuracy", "average rank"),
                (
                    (
                        r["detector"], percent(r["recall"]), _range(r["recall_low"], r["recall_high"]), percent(r["false_alarm_rate"]),
                        _range(r["false_alarm_rate_low"], r["false_alarm_rate_high"]), percent(r["balanced_accuracy"]),
                        f"{r['average_rank']:.2f}",
                    )
                    for r in many.detectors.to_dict("records")
                ),
            ),
            ranks_text(many),
        ]  # fmt: skip
    else:
        parts.append("No detector was asked.")
    parts += [
        "## Redundancy",
        table(
            ("operator", "mutants", "distinct", "share", "alone"),
            ((r["operator"], r["mutants"], r["distinct"], percent(r["share"]), r["alone"]) for r in many.redundancy.to_dict("records")),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _range(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}" if low == low else "-"
