"""The folder of finds: for each a record, ``NAME.json``, and a standalone script, ``NAME.py``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import scripts, targets
from gradfuzz.fuzzing.finding import BUGS, Finding
from gradfuzz.fuzzing.reduction import again
from gradfuzz.subjects.corpus import corpora_folder


def folder() -> Path:
    """``corpora/fuzz``, whose finds the tests replay."""
    return corpora_folder() / "fuzz"


def save(finding: Finding, place: Path) -> Path:
    """Write the record and the script; gives the script's path."""
    place.mkdir(parents=True, exist_ok=True)
    script = scripts.write(finding)
    record = {
        **finding.to_json(),
        "layers": len(finding.architecture.layers),
        "script_lines": sum(bool(line.strip()) for line in script.splitlines()),
    }
    path = place / f"{finding.name}.py"
    path.write_text(script, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Finding:
    """Raises ``BadInput`` for a file that is no record."""
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no record of a find: {error}") from error
    if not isinstance(record, dict):
        raise BadInput(f"{path} is no record of a find: it holds a {type(record).__name__}")
    return Finding.of_json(record)


def records(place: Path) -> list[Path]:
    return sorted(place.glob("*.json"))


def replay(finding: Finding) -> Finding | None:
    """The find as it is seen now on its own architecture, or None if it is gone."""
    return again(finding.architecture, finding, targets.find(finding.target), there=True)


def with_status(finding: Finding) -> Finding:
    """What a fresh find is: a detector's blind spot or false alarm, a known difference, or an open fault."""
    if finding.target not in BUGS:
        return replace(finding, status="false alarm" if finding.operator == "none" else "blind spot")
    return replace(finding, status="known" if finding.reason else "open")
