"""Make the frozen mutant set of the benchmark, or check that it still comes out the same.

python scripts/freeze_mutants.py                        write corpora/mutants/v1.tsv, only where there is none yet
python scripts/freeze_mutants.py --check [SUBJECT ...]  measure again and compare; exit code 1 on any difference

Without names --check takes the whole set. torch is held to instructions that every x86-64 processor has, so that the same bits come out,
given the versions of constraints.txt.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections import Counter

from gradfuzz.benchmark import freezing, frozen
from gradfuzz.errors import BadInput, GradfuzzError
from gradfuzz.registry import near_miss

UNTRACED = "untraced"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file")
    parser.add_argument("names", nargs="*", metavar="SUBJECT", help=f"with --check: some subjects only; '{UNTRACED}' for the real faults")
    arguments = parser.parse_args()
    path, known = frozen.folder() / f"{frozen.VERSION}.tsv", [*freezing.SHARES, UNTRACED]
    wrong = next((name for name in arguments.names if name not in known), None)
    if wrong or (arguments.names and not arguments.check):
        raise BadInput(f"the set has no subject '{wrong}'.{near_miss(wrong, known)}" if wrong else "names go with --check")
    if path.exists() and not arguments.check:
        raise BadInput(f"{path} exists, and a version is never edited: raise VERSION, or use --check")
    there = {row.subject for row in frozen.read()} if arguments.check else None  # what was added since belongs to later versions
    start, rows = time.perf_counter(), []
    for name in arguments.names or known:
        begun = time.perf_counter()
        found = freezing.untraced_rows(there) if name == UNTRACED else freezing.rows_of_subject(name)
        rows += found
        print(f"{name}: {len(found)} rows, {time.perf_counter() - begun:.0f} s", flush=True)
    if not arguments.check:
        path.parent.mkdir(exist_ok=True)
        path.write_text(frozen.text(rows), "utf-8")
        print(f"{path}: {told(rows)}; {time.perf_counter() - start:.0f} s")
        return 0
    names = {row.mutant for row in rows} if arguments.names else {row.mutant for row in frozen.read()}
    before = [row for row in frozen.read() if row.mutant in names or (row.subject in arguments.names and not row.untraced)]
    old, new = frozen.text(before).splitlines(), frozen.text(rows).splitlines()
    lines = list(difflib.unified_diff(old, new, str(path), "measured now", n=0, lineterm=""))
    print("\n".join(lines) or f"as in {path}: {told(rows)}; {time.perf_counter() - start:.0f} s")
    return 1 if lines else 0


def told(rows: list[frozen.Frozen]) -> str:
    mutants = [row for row in rows if not row.untraced and not row.control]
    effects = Counter(f"{row.effect} {row.cause}".strip() for row in mutants)
    kinds = ", ".join(f"{count} {kind}" for kind, count in effects.most_common())
    subjects, quick = len({row.subject for row in mutants}), sum(row.quick for row in rows)
    return f"{len(rows)} rows, {len(mutants)} mutants of {subjects} subjects ({kinds}), {quick} quick"


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in freezing.ENVIRONMENT.items()):  # torch reads them when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **freezing.ENVIRONMENT})
    try:
        sys.exit(main())
    except GradfuzzError as error:
        sys.exit(f"freeze_mutants: {error}")
