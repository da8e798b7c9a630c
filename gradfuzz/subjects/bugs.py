"""The real faults in ``corpora/bugs`` and the correct cases that look like faults in ``corpora/negatives``: their records and their cases.

One file each. Its ``RECORD`` is a literal and is read without running the file, so that listing needs no torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradfuzz.errors import BadInput
from gradfuzz.records import Cause, Effect, Level, State
from gradfuzz.registry import near_miss

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

PARTS = ("model", "loss", "registration", "optimizer", "flags", "loop", "precision", "data")
BY = ("measured", "declared")
FOLDERS = ("bugs", "negatives")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Bug:
    """A real fault. Everything from ``effect`` on is what the buggy side did against the fixed one, with seed 0 on the CPU.

    source: where it was reported. year: when, None where it does not say. part: of the training code. level: where an operator must
    intervene to do the same. mechanism: what the author did, as a slug. cause_by: ``measured``, or ``declared`` where no measurement on the
    running program can tell. measured: the parameters whose gradient is not the same, with its state. stuck: parameters with a live
    gradient that the optimizer does not move. silent: it raised nothing and gave no warning of its own. loss_same: the first loss is the
    same to the last bit.
    """

    id: str
    source: str
    year: int | None
    summary: str
    part: str
    level: Level
    mechanism: str
    effect: Effect
    cause: Cause
    cause_by: str
    faithful: bool | None
    measured: Mapping[str, State]
    stuck: tuple[str, ...]
    silent: bool
    loss_same: bool


@dataclass(frozen=True, slots=True)
class Negative:
    """A correct case that looks broken. mechanism: what looks suspicious, as a slug. measured: parameters without a gradient (``missing``),
    or with an exactly zero one, on the first step; each of them is declared in the case's ``intended``. The other fields as in ``Bug``.
    """

    id: str
    source: str
    year: int | None
    summary: str
    part: str
    mechanism: str
    measured: Mapping[str, State]


Entry = TypeVar("Entry", Bug, Negative)


def files(folder: str) -> dict[str, Path]:
    """Id to file, for ``bugs`` or ``negatives``."""
    from gradfuzz.subjects.corpus import corpora_folder

    return {path.stem: path for path in sorted((corpora_folder() / folder).glob("[!_]*.py"))}


def bugs() -> dict[str, Bug]:
    """Every real fault, by id."""
    return {name: read(path, Bug) for name, path in files("bugs").items()}


def negatives() -> dict[str, Negative]:
    """Every correct case that looks broken, by id."""
    return {name: read(path, Negative) for name, path in files("negatives").items()}


def build_bug(name: str, bug: bool, seed: int = 0) -> Case:
    """The buggy or the fixed side of a fault: same name, side and seed, same bits."""
    return _call("bugs", name, "buggy" if bug else "fixed", seed)


def build_negative(name: str, seed: int = 0) -> Case:
    """The case of a negative: same name and seed, same bits."""
    return _call("negatives", name, "case", seed)


def _call(folder: str, name: str, function: str, seed: int) -> Case:
    import torch

    from gradfuzz.subjects.loading import load_file

    known = files(folder)
    if name not in known:
        raise BadInput(f"corpora/{folder} has no '{name}'.{near_miss(name, known)} See `gradfuzz list bugs`")
    module = load_file(known[name])
    torch.manual_seed(seed)
    case: Case = getattr(module, function)()
    return case


def literal(path: Path) -> ast.Assign:
    """The statement ``RECORD = {...}`` of an entry. Raises ``BadInput`` if there is none."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["RECORD"]:
            return node
    raise BadInput(f"'{path}' has no RECORD: see docs/bugs.md for the form of an entry")


def read(path: Path, form: type[Entry]) -> Entry:
    """The record of an entry, checked. Raises ``BadInput`` that names the file and the field."""
    try:
        found = ast.literal_eval(literal(path).value)
    except ValueError as error:
        raise BadInput(f"the RECORD of '{path}' is not a plain literal: it is read without running the file") from error
    wanted = [field.name for field in fields(form)]
    if not isinstance(found, dict) or list(found) != wanted:
        raise BadInput(f"the RECORD of '{path}' must have these keys, in this order: {', '.join(wanted)}")
    try:
        return form(**_checked(found, path.stem))
    except ValueError as error:
        raise BadInput(f"the RECORD of '{path}': {error}") from error


def _checked(found: dict[str, Any], stem: str) -> dict[str, Any]:
    """The values with their types. Raises ``ValueError`` with the field and the bad value."""
    types: dict[str, type | tuple[type, ...]] = {"measured": dict, "stuck": list, "silent": bool, "loss_same": bool}
    types |= {"faithful": (bool, type(None)), "year": (int, type(None))}
    for key, value in found.items():
        if not isinstance(value, types.get(key, str)):
            raise ValueError(f"'{key}' cannot be {value!r}")
    if found["id"] != stem or not _SLUG.fullmatch(stem):
        raise ValueError(f"the id '{found['id']}' must be the name of the file, in kebab-case")
    if not _SLUG.fullmatch(found["mechanism"]):
        raise ValueError(f"the mechanism '{found['mechanism']}' must be in kebab-case")
    if not found["source"].startswith(("https://", "docs/")):
        raise ValueError(f"the source '{found['source']}' is neither a link nor a page of docs/")
    for key, allowed in (("part", PARTS), ("cause_by", BY)):
        if found.get(key, allowed[0]) not in allowed:
            raise ValueError(f"'{key}' cannot be {found[key]!r}: it is one of {', '.join(allowed)}")
    for key, enum in (("level", Level), ("effect", Effect), ("cause", Cause)):
        if key in found:
            found[key] = enum(found[key])
    found["measured"] = {name: State(state) for name, state in found["measured"].items()}
    return {**found, "stuck": tuple(found["stuck"])} if "stuck" in found else found
