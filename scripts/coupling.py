"""Run every mutant of the correct side of every real fault, and say which of them are that fault.

python scripts/coupling.py               all faults of corpora/bugs -> results/coupling
python scripts/coupling.py NAME ...      some of them, on the screen only
python scripts/coupling.py --bench DIR   beside it, whether detectors rank alike on the mutants and on the real faults of a benchmark
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import torch

import gradfuzz
from gradfuzz.analysis.coupling import by_kind, by_operator, rank_agreement, shares
from gradfuzz.benchmark.frozen import BUG
from gradfuzz.campaign.settings import CONTROL
from gradfuzz.engine.coupling import TOLERANCE, Coupling
from gradfuzz.engine.coupling_study import Coupled, Study, study
from gradfuzz.engine.eager import STEPS
from gradfuzz.errors import BadInput
from gradfuzz.report.coupling import page
from gradfuzz.store import TABLES, Tables
from gradfuzz.subjects.bugs import Bug, bugs
from gradfuzz.subjects.corpus import corpora_folder

NAMES = 5
FURTHER_SEED = 1
REAL, AS_WRITTEN = ("corpus:bugs/", "corpus:negatives/"), (BUG, CONTROL)
GROUPS = ("cause", "effect", "level", "part")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="ids of faults; all of them unless given")
    parser.add_argument("--out", type=Path, default=Path("results/coupling"), help="folder for the tables and the page")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--bench", type=Path, help="folder of a finished `gradfuzz bench`")
    arguments = parser.parse_args()
    rankings = by_origin(gradfuzz.load(arguments.bench)) if arguments.bench else None
    records, start = bugs(), time.perf_counter()
    missing = sorted(set(arguments.names) - set(records))
    if missing:
        raise BadInput(f"the corpus has no fault '{missing[0]}': see `gradfuzz list bugs`")
    pairs = run(arguments.names or list(records), arguments.jobs)
    faults = pd.DataFrame([row(records[one.fault], one, again) for one, again in pairs])
    reasons = explained(faults, whole=not arguments.names)
    if arguments.names:
        return 0
    agreement = rank_agreement(*rankings) if rankings else None
    write(arguments.out, faults, [one for one, _ in pairs], reasons, agreement, time.perf_counter() - start)
    return 0


def by_origin(tables: Tables) -> tuple[Tables, Tables]:
    """What a benchmark asked about mutants and their controls, and about real faults, their correct sides and real negatives."""
    real: dict[bool, set[str]] = {True: set(), False: set()}
    for mutant, subject, operator in tables.mutants[["mutant", "subject", "operator"]].itertuples(index=False):
        real[subject.startswith(REAL) and operator in AS_WRITTEN].add(mutant)
    if not all(real.values()):
        raise BadInput("a ranking is compared with a ranking: take a benchmark of the whole set, without --quick and --on")
    parts = [
        {name: frame[frame["mutant"].isin(names)] for name in TABLES if (frame := getattr(tables, name)) is not None}
        for names in (real[False], real[True])
    ]
    first, second = (Tables(**part, manifest=tables.manifest) for part in parts)
    return first, second


def run(names: list[str], jobs: int) -> list[tuple[Study, Study]]:
    """Each fault with one seed, and its closest mutants once more with another."""
    found = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=partial(torch.set_num_threads, 1)) as pool:
        for one, again in pool.map(study_twice, names):
            print(f"{one.coupling:8} {one.fault}: {', '.join(map(shown, one.closest(2)))}", flush=True)
            found.append((one, again))
    return found


def shown(coupled: Coupled) -> str:
    """Operator and site, as one may type them after the subject."""
    return unquote(coupled.mutant.partition("::")[2])


def study_twice(name: str) -> tuple[Study, Study]:
    one = study(name)
    closest = {coupled.mutant for coupled in one.closest(NAMES)}
    return one, study(name, FURTHER_SEED, only=closest)


def row(bug: Bug, one: Study, again: Study) -> dict[str, object]:
    """One line of faults.csv. holds: how many of the closest mutants are as close with the further seed."""
    closest = one.closest(NAMES)
    counts = {coupling: sum(coupled.coupling is coupling for coupled in one.found) for coupling in Coupling}
    tried = sum(one.tried.values())
    return {
        "fault": bug.id,
        "coupling": one.coupling.value,
        **{group: getattr(bug, group) for group in GROUPS},
        "mechanism": bug.mechanism,
        "mutants": tried,
        "exact": counts[Coupling.EXACT],
        "pattern": counts[Coupling.PATTERN],
        "operators_exact": " ".join(sorted({coupled.operator for coupled in one.found if coupled.coupling is Coupling.EXACT})),
        "closest": " | ".join(shown(coupled) for coupled in closest),
        "loss_same": any(coupled.loss_same for coupled in closest),
        "holds": f"{sum(coupled.coupling is one.coupling for coupled in again.found)}/{len(closest)}" if closest else "",
        "refused": "; ".join(f"{kind}: {reason}" for kind, reason in one.refused.items()),
    }


def explained(faults: pd.DataFrame, whole: bool) -> dict[str, str]:
    """Why faults are not coupled exactly, as it is written by hand.

    Raises ``BadInput`` if it names one that is, or a fault that does not exist; of the whole corpus, also if it lacks one.
    """
    path = corpora_folder() / "bugs" / "uncoupled.toml"
    reasons: dict[str, str] = tomllib.loads(path.read_text("utf-8"))
    apart = set(faults.loc[faults["coupling"] != "exact", "fault"])
    stray = sorted(set(reasons) & set(faults["fault"]) - apart) + sorted(set(reasons) - set(bugs()))
    if stray:
        raise BadInput(f"{path} explains '{stray[0]}', which is coupled or does not exist: take it out")
    unexplained = sorted(apart - set(reasons))
    if whole and unexplained:
        raise BadInput(f"{path} says nothing of {', '.join(unexplained)}: no mutant has its gradients, write why in one line")
    return reasons


def counts_of(studies: list[Study]) -> pd.DataFrame:
    """One line per fault and operator."""
    rows = []
    for one in studies:
        for (operator, level, kind), tried in sorted(one.tried.items()):
            mine = [coupled.coupling for coupled in one.found if coupled.operator == operator]
            exact, pattern = mine.count(Coupling.EXACT), mine.count(Coupling.PATTERN)
            rows.append({"fault": one.fault, "operator": operator, "level": level, "kind": kind, "exact": exact, "pattern": pattern})
            rows[-1]["none"] = tried - exact - pattern
    return pd.DataFrame(rows)


def write(
    out: Path, faults: pd.DataFrame, studies: list[Study], reasons: dict[str, str], agreement: pd.DataFrame | None, seconds: float
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    counts = counts_of(studies)
    operators, kinds = by_operator(counts), by_kind(counts)
    summary = pd.concat([shares(faults).assign(by="all"), *(shares(faults, by).assign(by=by) for by in GROUPS)], ignore_index=True)
    summary = summary[["by", *(column for column in summary.columns if column != "by")]]
    faults.to_csv(out / "faults.csv", index=False)
    operators.assign(reproduces=operators["reproduces"].map(" ".join)).to_csv(out / "operators.csv", index=False)
    summary.round(4).to_csv(out / "summary.csv", index=False)
    if agreement is not None:
        agreement.round(4).to_csv(out / "agreement.csv", index=False)
    manifest = {
        "command": " ".join(["python", "scripts/coupling.py", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("gradfuzz", "torch", "numpy", "pandas")} | {"python": platform.python_version()},
        "seed": 0,
        "further_seed": FURTHER_SEED,
        "tolerance": TOLERANCE,
        "steps": STEPS,
        "faults": len(faults),
        "mutants": int(faults["mutants"].sum()),
        "operators": len(operators),
        "seconds": round(seconds),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    (out / "README.md").write_text(page(faults, summary, operators, kinds, reasons, agreement, manifest, NAMES), "utf-8")
    whole = summary.iloc[0]
    print(f"{len(faults)} faults: {whole['exact']} exact, {whole['pattern']} pattern, {whole['none']} none; written to {out}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(f"coupling: {error}")
