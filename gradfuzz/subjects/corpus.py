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
    from gradfuzz.subjects.loading import load_file

    if shape:
        raise BadInput(f"corpus:{name} has a batch of its own: leave out --input")
    case: Case = load_file(_files()[name]).case()
    return case


_STAND_IN = """
class Case:
    def __init__(self, model, batch, loss_fn, **about_training):
        self.model, (inputs, self.target), self.loss_fn = model, batch, loss_fn
        self.inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
"""


def _code(name: str, seed: int, shape: tuple[int, ...] | None) -> str:
    """The architecture's own file, with a stand-in for the one class that it imports from gradfuzz."""
    text = _files()[name].read_text("utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    for node in reversed(tree.body):
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradfuzz")
        is_docstring = node is tree.body[0] and ast.get_docstring(tree) is not None
        if ours or is_docstring:
            lines[node.lineno - 1 : node.end_lineno] = _STAND_IN.splitlines() if ours else [f"# {summaries()[name]}"]
    unpacked = "model, inputs, target, loss_fn = made.model, made.inputs, made.target, made.loss_fn"
    return "\n".join([*lines, "", "", "made = case()", unpacked])


providers.add("corpus", Provider("corpus", "small architectures that together have what real networks have", _names, _build, _code))
