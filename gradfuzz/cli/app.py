"""The verbs. Each imports what it needs when it is called, so that ``--help`` needs neither torch nor pandas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gradfuzz.cli import campaigns
from gradfuzz.cli.arguments import (
    AsJson,
    AtLevel,
    Engine,
    Input,
    Mutant,
    Operators,
    Seed,
    names,
    required,
    shape,
)

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


def print_version(wanted: bool) -> None:
    if wanted:
        from gradfuzz import __version__

        print(f"gradfuzz {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=print_version)] = False,
) -> None:
    options.debug = debug
    if context.invoked_subcommand == "run":
        from gradfuzz.cli.running import defaults

        known = {parameter.name: parameter.multiple for parameter in context.command.commands["run"].params}  # type: ignore[attr-defined]
        context.default_map = {"run": defaults(Path.cwd(), known)}


app.command()(campaigns.run)
app.command()(campaigns.merge)


@app.command(name="list")
def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="For mutants: of which model.")] = None,
    operators: Operators = None,
    predict: Annotated[
        bool, typer.Option("--predict", help="For mutants: every cut, with what it severs by structure alone, nothing is run.")
    ] = False,
    level: AtLevel = "graph",
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
        rows = listing.mutants(required(model), names(operators), seed, shape(input_shape), level)
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
def bench(
    detectors: Annotated[
        str | None,
        typer.Option(help="Detectors, separated by commas, your own as path/to/file.py:function; all that are registered unless given."),
    ] = None,
    detector: Annotated[list[str] | None, typer.Option("--detector", help="One detector, as in --detectors. Repeatable.")] = None,
    misses: Annotated[bool, typer.Option("--misses", help="List the faults that the one detector missed, smallest subject first.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The quick subset: some minutes.")] = False,
    on: Annotated[str, typer.Option("--on", help="mutants, bugs (real faults and negatives), or all.")] = "all",
    out: Annotated[Path | None, typer.Option("--out", help="Folder; results/bench-<time> unless given.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows, spread over the subjects.")] = None,
    time_limit: Annotated[str, typer.Option(help="How long a detector may take for one row, 90s.")] = "60s",
    resume: Annotated[bool, typer.Option("--resume", help="Finish what was interrupted in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask detectors about a frozen set of mutants, correct programs and real faults: the leaderboard.

    Examples:

      gradfuzz bench --quick

      gradfuzz bench --quick --detectors grad-none,mine.py:my_detector --out results/mine

      gradfuzz bench --quick --detector grad-none --misses
    """
    from gradfuzz.benchmark.settings import Settings
    from gradfuzz.cli import bench as benching
    from gradfuzz.cli import running

    asked = (*(names(detectors) or ()), *(detector or ()))
    settings = Settings(asked or None, on, quick, limit, running.seconds(time_limit, "--time-limit") or 0.0)
    code = benching.bench(settings, out, misses=misses, resume=resume, as_json=as_json)
    if code:
        raise typer.Exit(code)


@app.command()
def fuzz(
    limit: Annotated[str, typer.Option("--time", help="How long to search: 60s, 5m, 1h.")] = "60s",
    target: Annotated[
        str, typer.Option(help="What to compare: engines, structure, truth, front-ends, detector:NAME, detectors or detectors:NAME,NAME.")
    ] = "engines",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for finds; corpora/fuzz unless given.")] = None,
    cases: Annotated[int | None, typer.Option(min=1, help="At most so many random architectures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Search random architectures for disagreements, and shrink what is found to a script that needs only torch.

    Exit code 1 if engines, structure, truth or front-ends disagree in a way that is not known: a fault of gradfuzz. What a detector misses
    or flags for nothing is the result, and exits with 0.

    Examples:

      gradfuzz fuzz --time 60s --target engines

      gradfuzz fuzz --time 60s --target detector:grad-none --out finds
    """
    from gradfuzz.cli import fuzz as fuzzing

    if code := fuzzing.fuzz(limit, target, seed, out, cases, as_json):
        raise typer.Exit(code)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Campaign folders, or folders of them.")],
    formats: Annotated[
        str, typer.Option("--format", help="html, md, latex, csv, json, stryker (mutation-testing-elements); several with commas.")
    ] = "html,md",
    out: Annotated[Path | None, typer.Option("--out", help="Where the files go; DIR unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a campaign, or one over many, from stored rows alone.

    Examples:

      gradfuzz report results/x

      gradfuzz report results/x --format latex,csv

      gradfuzz report results/study --out results/study
    """
    from gradfuzz.cli import report as reporting

    reporting.report(folders, names(formats) or (), out, as_json=as_json)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="DIR_A", help="The campaign from before.")],
    after: Annotated[Path, typer.Argument(metavar="DIR_B", help="The campaign from after.")],
    fail_on_new: Annotated[bool, typer.Option("--fail-on-new", help="Exit code 1 if there are new silent faults.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two campaigns: new silent faults, other effects, flipped verdicts, speed.

    Example: gradfuzz compare results/main results/branch --fail-on-new
    """
    from gradfuzz.cli import report as reporting

    if reporting.compare(before, after, as_json=as_json) and fail_on_new:
        raise typer.Exit(1)
