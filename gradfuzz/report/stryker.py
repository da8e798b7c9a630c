"""The mutation-testing-elements report: what Stryker's viewers and dashboards read. Detectors are the tests.

Schema: version 2 of mutation-testing-report-schema, package 3.8.4 (https://github.com/stryker-mutator/mutation-testing-elements,
Apache-2.0). A viewer shows mutants in a source file. The tables have no source files, so the file shown is the traced program, a call a
line, as ``graph.json`` has it; without that, the sites in the order of the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradfuzz.report.model import Model
from gradfuzz.store import write_whole

SCHEMA = "https://raw.githubusercontent.com/stryker-mutator/mutation-testing-elements/master/packages/report-schema/src/mutation-testing-report-schema.json"
SCHEMA_VERSION = "2"
IGNORED = {
    "correct": "equivalent: no gradient changed",
    "altered": "the function changed and its gradient is honest: no look at gradients can tell",
    "unstable": "lost on one batch, alive on another: neither fault nor correct",
}
"""Why a mutant does not count, by what was expected of a detector or by its effect."""


def document(model: Model) -> dict[str, Any]:
    """The whole report. A crash is never a kill: backward raising is a ``RuntimeError``, and a detector that crashed has not detected."""
    campaign = model.campaign
    manifest = campaign.tables.manifest
    lines, places = listing(model)
    return {
        "$schema": SCHEMA,
        "schemaVersion": SCHEMA_VERSION,
        "thresholds": {"high": 80, "low": 60},
        "framework": {
            "name": "gradfuzz",
            "version": manifest["campaign"]["versions"]["gradfuzz"],
            "dependencies": {name: number for name, number in manifest["campaign"]["versions"].items() if name != "gradfuzz"},
        },
        "config": manifest["campaign"],
        "files": {
            f"{campaign.model.replace(':', '/')}.py": {
                "language": "python",
                "source": "\n".join(lines) + "\n",
                "mutants": _mutants(model, places, len(lines[0]) + 1),
            }
        },
        "testFiles": {"detectors": {"tests": [{"id": name, "name": name} for name in model.seen.detectors]}},
    }


def listing(model: Model) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The lines of the program, and for each node, parameter and module where it is: line, counted from one, and length."""
    graph = model.campaign.graph
    if graph is None:
        sites = list(dict.fromkeys(model.campaign.tables.mutants["site"]))
        return sites or [""], {site: (line, max(len(site), 1)) for line, site in enumerate(sites, start=1)}
    lines: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    names = [parameter["name"] for parameter in graph["parameters"]]
    for line, node in enumerate(graph["nodes"], start=1):
        reads = [*node["reads"], *(names[number] for number in node["parameters"])]
        text = f"{node['name']} = {node['op']}({', '.join(reads)})"
        lines.append(f"{text}  # {node['module'] or '(model)'} {node['source']}".rstrip())
        parts = node["module"].split(".")
        around = [".".join(parts[:end]) for end in range(len(parts) + 1)]
        for name in [node["name"], *(names[number] for number in node["parameters"]), *around]:
            places.setdefault(name, (line, len(text)))
    return lines or [""], places


def _mutants(model: Model, places: Mapping[str, tuple[int, int]], width: int) -> list[dict[str, Any]]:
    seen, expected = model.seen, model.expected.to_numpy()
    rows = model.campaign.tables.mutants.to_dict("records")
    return [
        _mutant(row, expected[place], seen.who(place), [seen.detectors[k] for k in np.flatnonzero(seen.judged[place])], places, width)
        for place, row in enumerate(rows)
        if row["operator"] != "none"
    ]


def _mutant(
    row: Mapping[Any, Any], expected: str, flagged: list[str], judged: list[str], places: Mapping[str, tuple[int, int]], width: int
) -> dict[str, Any]:
    status, reason = _status(row, expected, flagged, judged)
    variant = f" ({row['variant']})" if row["variant"] else ""
    place = next((places[name] for name in _candidates(row) if name in places), (1, width))
    found = {
        "id": row["mutant"],
        "mutatorName": row["operator"],
        "description": f"{row['operator']} at {row['site']}{variant}: {row['effect']} {row['cause']}".rstrip(),
        "location": {"start": {"line": place[0], "column": 1}, "end": {"line": place[0], "column": 1 + place[1]}},
        "status": status,
        "coveredBy": judged,
        "killedBy": flagged if status == "Killed" else [],
        "testsCompleted": len(judged),
        "duration": round(1000 * float(row["seconds"]), 3),
    }
    return {**found, "statusReason": reason} if reason else found


def _candidates(row: Mapping[Any, Any]) -> list[str]:
    """Names by which the listing may know a site: its user first, for that is the line that changes."""
    text = row["site"]
    parts = [part for mark in ("->", "..", "+") for part in reversed(text.split(mark))]
    return [*parts, text, row["module"]]


def _status(row: Mapping[Any, Any], expected: str, flagged: list[str], judged: list[str]) -> tuple[str, str]:
    if row["status"] == "timeout":
        return "Timeout", row["error"]
    if row["status"] != "ok" or row["effect"] in ("invalid", "raises"):
        return "RuntimeError", row["error"] or row["effect"]
    if expected == "correct":
        return "Ignored", IGNORED["correct"]
    if expected != "fault":
        return "Ignored", IGNORED.get(row["effect"], row["effect"])
    if not judged:
        return "NoCoverage", ""
    return ("Killed", "") if flagged else ("Survived", "")


def write(model: Model, folder: Path) -> Path:
    """``mutation-report.json``, the name that viewers look for."""
    path = folder / "mutation-report.json"
    text = json.dumps(document(model), ensure_ascii=False)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
