"""The page of the coupling study: which real faults the mutants reproduce. Text out of tables; nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

KINDS = {"graph": "the graph", "training": "the training program around it", "step": "the running step"}


def page(
    faults: pd.DataFrame,
    summary: pd.DataFrame,
    operators: pd.DataFrame,
    kinds: pd.DataFrame,
    reasons: Mapping[str, str],
    agreement: pd.DataFrame | None,
    manifest: Mapping[str, Any],
    names: int,
) -> str:
    """The whole page.

    faults, summary, operators: as the tables beside it. kinds: of ``by_kind``. reasons: by fault that is not coupled exactly. agreement:
    None where no ranking was compared. names: how many faults to name beside an operator.
    """
    parts = [
        "# Do mutants resemble real faults?",
        f"Written by `{manifest['command']}`; what the words mean is in [the guide](../../docs/coupling.md). Each of the "
        f"{manifest['faults']} faults of `corpora/bugs` was compared with every mutant of its correct side, {manifest['mutants']:,} in "
        f"all, by {manifest['operators']} operators. *Exact*: the gradients are the fault's, up to {manifest['tolerance']:g} of their norm."
        " *Pattern*: every parameter is in the same state. Intervals are Wilson's, 95 %.",
        "## How many are reproduced",
        table(
            ["by", "", "faults", "exact", "", "pattern or better", "", "none"],
            [
                [r["by"], r["group"] or "(none)", r["faults"], share(r, "exact"), interval(r, "exact"), share(r, "pattern_or_better"),
                 interval(r, "pattern_or_better"), r["none"]]
                for _, r in summary.iterrows()
            ],
        ),
        "A pattern says little where it is `altered`: most mutants that change anything have it. The count of mutants beside each fault "
        "below shows how special its likeness is.",
        "What is broken, and how many faults only such mutants reproduce:",
        table(
            ["broken", "operators", "mutants", "exact", "only it"],
            [[KINDS[r["kind"]], r["operators"], f"{r['mutants']:,}", r["exact"], r["only_it"]] for _, r in kinds.iterrows()],
        ),
        "## Not reproduced, and why",
        table(
            ["fault", "nearest", "why"],
            [[f"`{r['fault']}`", r["coupling"], reasons[r["fault"]]] for _, r in faults[faults["coupling"] != "exact"].iterrows()],
        ),
        "## Realism of the operators",
        "Faults that an operator reproduces exactly, and those that no other operator does.",
        table(
            ["operator", "level", "exact", "only it", "faults"],
            [
                [f"`{r['operator']}`", r["level"], r["exact"], r["only_it"], ", ".join(f"`{name}`" for name in r["reproduces"][:names])
                 + (", ..." if len(r["reproduces"]) > names else "")]
                for _, r in operators[operators["exact"] > 0].iterrows()
            ],
        ),
        "Operators that reproduce none: "
        + (", ".join(f"`{name}`" for name in operators.loc[operators["exact"] == 0, "operator"]) or "there is none")
        + ".",
        *ranking(agreement),
        "## Every fault",
        "Mutants: exact, pattern, all that ran. Seeds: of the mutants named, how many are as close with another seed.",
        table(
            ["fault", "effect", "coupling", "mutants", "seeds", "closest"],
            [
                [f"`{r['fault']}`", r["effect"], r["coupling"], f"{r['exact']} / {r['pattern']} / {r['mutants']}", r["holds"],
                 "<br>".join(f"`{name}`" for name in r["closest"].split(" | ") if name)]
                for _, r in faults.iterrows()
            ],
        ),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def ranking(agreement: pd.DataFrame | None) -> list[str]:
    if agreement is None:
        return []
    lines = [
        [r["score"].replace("_", " "), r["effect"], r["detectors"], r["mutants"], r["bugs"], f"{r['tau']:.2f}",
         f"{r['low']:.2f} to {r['high']:.2f}"]
        for _, r in agreement.iterrows()
    ]  # fmt: skip
    return [
        "## Do detectors rank alike on mutants and on real faults?",
        "Kendall's tau-b between the scores of the detectors on both, with the interval of a bootstrap that draws whole subjects.",
        table(["score", "effect", "detectors", "mutants", "real faults", "tau-b", "95 %"], lines),
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def share(line: pd.Series, name: str) -> str:
    return f"{100 * line[f'{name}_share']:.0f} %"


def interval(line: pd.Series, name: str) -> str:
    return f"{100 * line[f'{name}_low']:.0f} to {100 * line[f'{name}_high']:.0f}"
