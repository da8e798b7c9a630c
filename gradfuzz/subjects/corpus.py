"""The small architectures in ``corpora/architectures``: one file each, with a docstring and a function ``case()``.

Together they have what real networks have (skips, tied weights, recurrence, attention, routing, intended stops), at some milliseconds
a step.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.subjects import Provider, providers

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

_PACKAGE = Path(__file__).resolve().parents[1]


def corpora_folder() -> Path:
    """``corpora`` inside an installed gradfuzz, or beside the package in a checkout."""
    places = (_PACKAGE / "corpora", _PACKAGE.parent / "corpora")
    for place in places:
        if (place / "architectures").is_dir():
            return place
    raise BadInput(f"the corpora are neither in {places[0]} nor in {places[1]}: install gradfuzz again, or run from a complete checkout")


def summaries() -> dict[str, str]:
    """Name to the first line of the docstring, without running a file: ``{"lstm": "An LSTM cell written ..."}``."""
    return {name: (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0] for name, path in _files().items()}


def _files() -> dict[str, Path]:
    files = sorted((corpora_folder() / "architectures").glob("[!_]*.py"))
    return {path.stem.replace("_", "-"): path for path in files}


def architecture_file(name: str) -> Path | None:
    """The file behind a name, or None."""
    return _files().get(name)


def _names() -> Iterable[str]:
    return _files()


def _build(name: str, seed: int, shape: tuple[int, ...] | None) -> Case:
    from gradfuzz.subjects.user import load_file

    if shape:
        raise BadInput(f"corpus:{name} has a batch of its own: leave out --input")
    case: Case = load_file(_files()[name]).case()
    return case


providers.add("corpus", Provider("corpus", "small architectures that together have what real networks have", _names, _build))
