"""Measure every record of corpora/bugs and corpora/negatives again, and say where it differs from what is written there.

python scripts/validate_corpus.py                  all of them; exit code 1 on any difference
python scripts/validate_corpus.py NAME ...         some of them
python scripts/validate_corpus.py --update NAME    write what was measured into the record of one entry
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from gradfuzz.engine.remeasure import differences, measure_bug, measure_negative
from gradfuzz.errors import BadInput
from gradfuzz.subjects.bugs import Bug, Negative, bugs, files, literal, negatives, read

WIDTH = 140


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="ids of entries; all of them unless given")
    parser.add_argument("--update", metavar="NAME", help="rewrite the measured part of one record")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums come out the same whatever the number of cores
    if arguments.update:
        print(f"{update(arguments.update)}: written")
        return 0
    start, lines = time.perf_counter(), []
    chosen = [record for record in (*bugs().values(), *negatives().values()) if not arguments.names or record.id in arguments.names]
    missing = sorted(set(arguments.names) - {record.id for record in chosen})
    if missing:
        raise BadInput(f"the corpus has no entry '{missing[0]}': see `gradfuzz list bugs`")
    for record in chosen:
        found = differences(record)
        lines += found
        for line in found:
            print(line)
    counted = sum(isinstance(record, Bug) for record in chosen)
    verdict = f"{len(lines)} differences" if lines else "all as recorded"
    print(f"{counted} bugs, {len(chosen) - counted} negatives: {verdict}, {time.perf_counter() - start:.0f} s")
    return 1 if lines else 0


def update(name: str) -> Path:
    """Write the measured fields of one entry's record; everything else in the file stays as it is."""
    folder = next((folder for folder in ("bugs", "negatives") if name in files(folder)), None)
    if folder is None:
        raise BadInput(f"the corpus has no entry '{name}': see `gradfuzz list bugs`")
    path = files(folder)[name]
    record: Bug | Negative = read(path, Bug) if folder == "bugs" else read(path, Negative)
    found = measure_bug(record) if isinstance(record, Bug) else measure_negative(record)
    node, lines = literal(path), path.read_text("utf-8").splitlines()
    lines[node.lineno - 1 : node.end_lineno] = written({**asdict(record), **found})
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def written(record: dict[str, object]) -> list[str]:
    """The statement ``RECORD = {...}`` as the formatter would lay it out."""
    lines = ["RECORD = {"]
    for key, value in record.items():
        if isinstance(value, dict) and len(f'    "{key}": {literally(value)},') > WIDTH:
            lines += [f'    "{key}": {{', *(f"        {quoted(k)}: {quoted(v)}," for k, v in value.items()), "    },"]
        elif isinstance(value, str) and len(f'    "{key}": {quoted(value)},') > WIDTH:
            lines += broken(key, value)
        else:
            lines.append(f'    "{key}": {literally(value)},')
    return [*lines, "}"]


def literally(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {quoted(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(quoted(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(text: str) -> str:
    return f"'{text}'" if '"' in text and not {"'", "\\"} & set(text) else json.dumps(text, ensure_ascii=False)


def broken(key: str, text: str) -> list[str]:
    """A long text as adjacent literals."""
    lines, rest, start = [], text, f'    "{key}": '
    while len(start) + len(quoted(rest)) + 1 > WIDTH:
        cut = rest.rfind(" ", 0, WIDTH - len(start) - 3)
        lines.append(start + quoted(rest[:cut]))
        rest, start = rest[cut:], "    "
    return [*lines, f"{start}{quoted(rest)},"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(f"validate_corpus: {error}")
