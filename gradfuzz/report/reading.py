"""A campaign folder as the reports read it: the tables, and the two files about the program where they are there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from gradfuzz.analysis.judgement import outcomes
from gradfuzz.analysis.structure import Structure, structure
from gradfuzz.errors import BadInput, DamagedStore
from gradfuzz.store import Tables, load


@dataclass(frozen=True)
class Campaign:
    """graph: ``graph.json`` (see ``graph.describe``), None in folders older than it. code: by mutant, the lines before and after.
    kind: what of the graph is known where it is not there itself.
    """

    tables: Tables
    folder: Path | None = None
    graph: dict[str, Any] | None = None
    code: dict[str, Any] = field(default_factory=dict)
    kind: Structure | None = None

    @property
    def model(self) -> str:
        return str(self.tables.manifest["campaign"]["model"])

    @cached_property
    def structure(self) -> Structure | None:
        return structure(self.graph) if self.graph else self.kind

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """``judgement.outcomes`` with the sampling weights."""
        return outcomes(self.tables.mutants, self.tables.verdicts, self.weights)

    @cached_property
    def weights(self) -> pd.Series:
        """By mutant, how many of the possible ones it stands for."""
        return self.tables.mutants.set_index("mutant")["weight"]


def read(folder: Path) -> Campaign:
    """Raises ``BadInput`` if there is no campaign, ``DamagedStore`` if it cannot be read."""
    return attach(load(folder), folder)


def attach(tables: Tables, folder: Path) -> Campaign:
    """Tables that are already loaded, with what else is in their folder."""
    return Campaign(tables, folder, _json(folder / "graph.json", "nodes"), _json(folder / "code.json") or {})


def find(folders: Iterable[Path]) -> list[Path]:
    """Each folder that is a campaign, and those directly below one that is none; sorted within one. Raises ``BadInput`` where none is."""
    found: list[Path] = []
    for folder in folders:
        below = sorted(path.parent for path in folder.glob("*/manifest.json")) if folder.is_dir() else []
        if (folder / "manifest.json").exists():
            found.append(folder)
        elif below:
            found += below
        else:
            raise BadInput(f"{folder} is no campaign folder, and has none below it: give the --out of a `gradfuzz run`")
    return list(dict.fromkeys(found))


def _json(path: Path, key: str = "") -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedStore(f"{path} cannot be read ({error}): remove that one file, the report is made without it") from error
    if not isinstance(found, dict) or (key and key not in found):
        raise DamagedStore(f"{path} is not ours (no '{key}'): remove that one file, the report is made without it")
    return found
