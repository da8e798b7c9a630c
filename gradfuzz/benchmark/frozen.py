"""The frozen sets in ``corpora/mutants``: what the benchmark asks about, with the labels it had when the set was made. No torch here.

A set is one file of tab-separated lines, named after its version. A published version is never edited: what changes is a new one.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from gradfuzz.errors import BadInput
from gradfuzz.records import Cause, Effect, Mutant
from gradfuzz.registry import near_miss

VERSION = "v1"
NONE, INTENT, BUG = "none", "intent", "bug"
"""Operators that are none: the unmutated subject; a stop that the author declares; a fault that somebody really made."""
FUNCTIONS = ("fixed", "case", "buggy")
"""Sites of rows that are run as their author wrote them: what makes the case in ``corpora/bugs`` or ``corpora/negatives``."""
TRUTH = {"True": True, "False": False, "": None}


@dataclass(frozen=True, slots=True)
class Frozen:
    """One row. ``SUBJECT::OPERATOR::SITE`` is a mutant; beside it

    ``SUBJECT::none::.`` is the unmutated subject, ``SUBJECT::intent::OPERATOR SITE`` a mutant whose stop is declared as intended;
    ``SUBJECT::bug::buggy``, ``SUBJECT::none::fixed`` and ``SUBJECT::intent::case`` are the two sides of a real fault and a correct case
    that looks like one, untraced.

    effect, cause, faithful, signature: as in ``Truth``; a row that is run untraced has no signature. seed: of the subject. params: its live
    parameters. weights: the elements of these. quick: whether the row is in the quick subset.
    """

    mutant: str
    effect: Effect
    cause: Cause
    faithful: bool | None
    signature: str
    seed: int
    params: int
    weights: int
    quick: bool

    @property
    def name(self) -> Mutant:
        return Mutant.parse(self.mutant)

    @property
    def subject(self) -> str:
        return self.name.subject

    @property
    def untraced(self) -> bool:
        """Whether it is run as its author wrote it."""
        return self.name.operator in (NONE, INTENT, BUG) and self.name.site in FUNCTIONS

    @property
    def control(self) -> bool:
        """Whether a detector should say nothing: the unmutated subject, or a declared stop."""
        return self.name.operator in (NONE, INTENT)

    @property
    def label(self) -> tuple[str, str, bool | None]:
        return str(self.effect), str(self.cause), self.faithful


def folder() -> Path:
    from gradfuzz.subjects.corpus import corpora_folder

    return corpora_folder() / "mutants"


def path_of(version: str = VERSION) -> Path:
    """The file of a version. Raises ``BadInput`` if there is none."""
    known = [path.stem for path in sorted(folder().glob("v*.tsv"))]
    if version not in known:
        raise BadInput(f"there is no mutant set '{version}'.{near_miss(version, known)} There are {', '.join(known) or 'none'}")
    return folder() / f"{version}.tsv"


def content_hash(version: str = VERSION) -> str:
    """What a set is: two files of one hash ask the same."""
    return hashlib.blake2b(path_of(version).read_bytes(), digest_size=8).hexdigest()


def read(version: str = VERSION) -> list[Frozen]:
    """Every row of a version, in the order of the file. Raises ``BadInput`` with file and line."""
    path = path_of(version)
    lines = list(csv.reader(path.read_text("utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [field.name for field in fields(Frozen)]
    if not lines or lines[0] != header:
        raise BadInput(f"{path}:1: the first line must be {' '.join(header)}, with tabs between")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            rows.append(_row(*line))
        except (ValueError, TypeError, KeyError, BadInput) as error:
            raise BadInput(f"{path}:{number} is no row of a mutant set ({error}): restore the file, it is never edited") from error
    return rows


def _row(mutant: str, effect: str, cause: str, faithful: str, signature: str, seed: str, params: str, weights: str, quick: str) -> Frozen:
    Mutant.parse(mutant)
    numbers = int(seed), int(params), int(weights)
    return Frozen(mutant, Effect(effect), Cause(cause), TRUTH[faithful], signature, *numbers, {"True": True, "False": False}[quick])


def text(rows: Iterable[Frozen]) -> str:
    """The file of some rows."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
    writer.writerow([field.name for field in fields(Frozen)])
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return stream.getvalue()
