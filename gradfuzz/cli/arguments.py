"""What several verbs take: the types of their options, and how the texts are read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated

import typer

from gradfuzz.errors import BadInput
from gradfuzz.records import Thresholds
from gradfuzz.registry import near_miss

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", help="resnet18, torchvision:resnet18, corpus:mlp, path/to/file.py:function or package.module:function. Repeatable."
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, data and every random draw.")]
Operators = Annotated[str | None, typer.Option("--operators", help="Operators or families, separated by commas; all unless given.")]
Engine = Annotated[str, typer.Option(help="How mutants are executed: shared, or naive, the slow reference.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Input = Annotated[
    str | None, typer.Option("--input", help="Shape of a random input, 2x3x64x64; for a function that returns a bare module.")
]
AtLevel = Annotated[str, typer.Option(help="graph, or runtime: breaks the calls of the running step, for models that cannot be traced.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on stdout.")]
Mutant = Annotated[str, typer.Argument(metavar="MUTANT", help="subject::operator::site, as `gradfuzz list mutants` prints it")]


def names(text: str | None) -> tuple[str, ...] | None:
    """``a,b`` -> ``("a", "b")``."""
    if text is None:
        return None
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise BadInput(f"'{text}' names nothing: give names separated by commas")
    return found


def required(model: str | None) -> str:
    if model is None:
        raise BadInput("whose mutants? Add --model, for example --model resnet18")
    return model


def shape(text: str | None) -> tuple[int, ...] | None:
    """``2x3x64x64`` -> ``(2, 3, 64, 64)``."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise BadInput(f"'{text}' is no shape: write sizes with x between them, like 2x3x64x64")
    return tuple(map(int, parts))


def thresholds(pairs: list[str]) -> Thresholds:
    """``["same=1e-7"]`` -> the thresholds with that one changed."""
    known = {field.name: field.type for field in fields(Thresholds)}
    values: dict[str, float] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if name not in known:
            raise BadInput(f"there is no threshold '{name}'.{near_miss(name, known)} They are {', '.join(known)}")
        try:
            values[name] = int(number) if known[name] == "int" else float(number)
        except ValueError:
            raise BadInput(f"'{number}' is no number for the threshold '{name}'") from None
        if not 0 < values[name] < float("inf"):
            raise BadInput(f"the threshold '{name}' must be positive, got {number}")
    return replace(Thresholds(), **values)  # type: ignore[arg-type]


def check_device(name: str) -> str:
    if name not in ("cpu", "cuda"):
        raise BadInput(f"there is no device '{name}': use cpu or cuda")
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadInput("torch sees no CUDA device here: leave out --device cuda")
    return name
