"""The verbs. Each imports what it needs when it is called, so that ``--help`` needs neither torch nor pandas."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gradfuzz.errors import BadInput
from gradfuzz.records import Thresholds
from gradfuzz.registry import near_miss

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Break PyTorch training code on purpose, measure what every break does to the gradients, and see who notices.",
)


@dataclass
class Options:
    debug: bool = False


options = Options()


class What(StrEnum):
    SUBJECTS = "subjects"
    OPERATORS = "operators"
    DETECTORS = "detectors"
    MUTANTS = "mutants"
    BUGS = "bugs"


Model = Annotated[
    str,
    typer.Option("--model", "-m", help="resnet18, torchvision:resnet18, corpus:mlp, path/to/file.py:function or package.module:function"),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, data and every random draw.")]
Operators = Annotated[str | None, typer.Option("--operators", help="Operators or families, separated by commas; all unless given.")]
Engine = Annotated[str, typer.Option(help="How mutants are executed: shared, or naive, the slow reference.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Input = Annotated[
    str | None, typer.Option("--input", help="Shape of a random input, 2x3x64x64; for a function that returns a bare module.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document on stdout.")]
Mutant = Annotated[str, typer.Argument(metavar="MUTANT", help="subject::operator::site, as `gradfuzz list mutants` prints it")]


def print_version(wanted: bool) -> None:
    if wanted:
        from gradfuzz import __version__

        print(f"gradfuzz {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=print_version)] = False,
) -> None:
    options.debug = debug


@app.command()
def run(
    model: Model,
    operators: Operators = None,
    detectors: Annotated[
        str | None,
        typer.Option(
            "--detectors",
            help="Detectors, or path/to/file.py:function, separated by commas; those that share the engine's pass unless given.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Campaign folder; results/<model>-<time> unless given.")] = None,
    seed: Seed = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many mutants, sampled so that every operator keeps its share.")
    ] = None,
    sites: Annotated[
        int,
        typer.Option(
            min=0, help="At most so many sites of each operator that changes values, sampled; 0 for all. The others are complete."
        ),
    ] = 8,
    engine: Engine = "shared",
    verify: Annotated[
        float,
        typer.Option(
            "--verify-engine", min=0.0, max=1.0, help="Share of mutants that the naive engine runs too; a difference is an error."
        ),
    ] = 0.0,
    activation_memory: Annotated[
        float | None,
        typer.Option(
            help="GiB of activations that the shared engine retains; beyond, it computes them again. A quarter of the memory unless given."
        ),
    ] = None,
    device: Device = "cpu",
    input_shape: Input = None,
    threshold: Annotated[list[str] | None, typer.Option("--threshold", help="name=value; see gradfuzz.Thresholds. Repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an interrupted campaign in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Break a model in every way, measure each break, and ask the detectors.

    Examples:

      gradfuzz run --model resnet18

      gradfuzz run --model my_train.py:make_case --operators block,flag --limit 500 --out results/mine
    """
    from gradfuzz import campaign
    from gradfuzz.api import default_folder
    from gradfuzz.cli import terminal
    from gradfuzz.report import markdown

    settings = campaign.Settings(
        model=model,
        operators=names(operators),
        detectors=names(detectors),
        seed=seed,
        limit=limit,
        sites=sites or None,
        engine=engine,
        device=check_device(device),
        input_shape=shape(input_shape),
        thresholds=thresholds(threshold or []),
        verify=verify,
        activation_memory=activation_memory,
    )
    folder = out or default_folder(model)
    progress = terminal.make_progress()
    command = " ".join(map(shlex.quote, ["gradfuzz", *sys.argv[1:]]))
    try:
        with progress:
            tables = campaign.run(settings, folder, resume=resume, progress=progress, command=command)
    except KeyboardInterrupt:
        again = command if out else f"{command} --out {shlex.quote(str(folder))}"
        print(f"interrupted; what was finished is in {folder}. To go on: {again}{'' if resume else ' --resume'}", file=sys.stderr)
        raise typer.Exit(130) from None
    report = markdown.write(tables, folder)
    if as_json:
        print(json.dumps(terminal.summary(tables, folder), indent=2))
    else:
        terminal.show_campaign(tables, folder, report)


@app.command(name="list")
def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="For mutants: of which model.")] = None,
    operators: Operators = None,
    predict: Annotated[
        bool, typer.Option("--predict", help="For mutants: every cut, with what it severs by structure alone, nothing is run.")
    ] = False,
    seed: Seed = 0,
    input_shape: Input = None,
    as_json: AsJson = False,
) -> None:
    """List subjects, operators, detectors, real bugs, or the mutants of a model.

    Examples:

      gradfuzz list operators

      gradfuzz list mutants --model resnet18 --operators insert-detach

      gradfuzz list mutants --model resnet18 --predict
    """
    from gradfuzz.cli import listing, terminal

    if what is not What.MUTANTS:
        rows = listing.LISTS[what]()
    elif predict:
        rows = listing.cuts(required(model), seed, shape(input_shape))
    else:
        rows = listing.mutants(required(model), names(operators), seed, shape(input_shape))
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        terminal.show_rows(rows)


@app.command()
def show(
    mutant: Mutant,
    script: Annotated[bool, typer.Option("--script", help="Print a standalone script that reproduces it without gradfuzz.")] = False,
    seed: Seed = 0,
    input_shape: Input = None,
    as_json: AsJson = False,
) -> None:
    """Show one mutant: the code before and after, and what it does, measured now.

    Examples:

      gradfuzz show "corpus:mlp::insert-detach::m0"

      gradfuzz show "torchvision:resnet18::insert-detach::layer1_0_relu" --script > reproduce.py
    """
    from gradfuzz.cli import showing

    showing.show(mutant, script=script, seed=seed, input_shape=shape(input_shape), as_json=as_json)


@app.command()
def replay(
    mutant: Mutant,
    folder: Annotated[Path | None, typer.Option("--from", help="Campaign folder to compare with.")] = None,
    seed: Seed = 0,
    engine: Engine = "naive",
    input_shape: Input = None,
    as_json: AsJson = False,
) -> None:
    """Run one mutant again, and say where it differs from what a campaign stored.

    Exit code 1 if it differs.

    Example: gradfuzz replay "torchvision:resnet18::insert-detach::layer1_0_relu" --from results/x
    """
    from gradfuzz.cli import showing

    if showing.replay(mutant, folder, seed=seed, engine=engine, input_shape=shape(input_shape), as_json=as_json):
        raise typer.Exit(1)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder.")]) -> None:
    """Write the report of a campaign again, from its stored rows.

    Example: gradfuzz report results/x
    """
    from gradfuzz.report import markdown
    from gradfuzz.store import load

    print(markdown.write(load(folder), folder))


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
