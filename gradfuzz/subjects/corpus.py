"""The small architectures in ``corpora/architectures``: one file each, with a docstring and a function ``case()``.

Together they have what real networks have (skips, tied weights, recurrence, attention, routing, intended stops), at some milliseconds
a step. Beside them ``bugs/NAME`` is the fixed side of a real fault, and ``negatives/NAME`` a correct case that looks broken.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.subjects import Provider, bugs, providers

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
    return {name: summary(path) for name, path in _files().items()}


def all_summaries() -> dict[str, str]:
    """The same with ``bugs/NAME`` and ``negatives/NAME``."""
    return {name: summary(path) for name, path in _all_files().items()}


def summary(path: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


def _files() -> dict[str, Path]:
    files = sorted((corpora_folder() / "architectures").glob("[!_]*.py"))
    return {path.stem.replace("_", "-"): path for path in files}


def architecture_file(name: str) -> Path | None:
    """The file behind a name, or None."""
    return _files().get(name)


def _all_files() -> dict[str, Path]:
    """The architectures, and what is in the folders of ``gradfuzz.subjects.bugs``."""
    return _files() | {f"{folder}/{name}": path for folder in bugs.FOLDERS for name, path in bugs.files(folder).items()}


def _names() -> Iterable[str]:
    return _files()


def _further() -> Iterable[str]:
    return [name for name in _all_files() if "/" in name]


def _function(name: str) -> str:
    """What makes the case of a name."""
    return "fixed" if name.startswith("bugs/") else "case"


def _build(name: str, seed: int, shape: tuple[int, ...] | None) -> Case:
    from gradfuzz.subjects.loading import load_file

    if shape:
        raise BadInput(f"corpus:{name} has a batch of its own: leave out --input")
    case: Case = getattr(load_file(_all_files()[name]), _function(name))()
    return case


_STAND_IN = """
Batch = tuple


class Case:
    def __init__(self, model, batch, loss_fn, *optimizer, **about_training):
        self.model, (inputs, self.target), self.loss_fn = model, batch, loss_fn
        self.inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
"""


def _code(name: str, seed: int, shape: tuple[int, ...] | None) -> str:
    """The case's own file, with a stand-in for what it imports from gradfuzz."""
    path = _all_files()[name]
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    for node in reversed(tree.body):
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradfuzz")
        is_docstring = node is tree.body[0] and ast.get_docstring(tree) is not None
        is_record = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECORD"
        if ours or is_docstring or is_record:
            told = [f"# {summary(path)}"] if is_docstring else []
            lines[node.lineno - 1 : node.end_lineno] = _STAND_IN.splitlines() if ours else told
    unpacked = "model, inputs, target, loss_fn = made.model, made.inputs, made.target, made.loss_fn"
    return "\n".join([*lines, "", "", f"made = {_function(name)}()", unpacked])


_SUMMARY = "small architectures that together have what real networks have"
providers.add("corpus", Provider("corpus", _SUMMARY, _names, _build, _code, _further))
