"""The verbs ``run`` and ``merge`` as the command line takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradfuzz.cli.arguments import AsJson, AtLevel, Device, Engine, Input, Models, Operators, Seed, check_device, names, shape, thresholds


def run(
    model: Models = None,
    models: Annotated[
        list[Path] | None, typer.Option("--models", help="File with one model a line; after # comes a comment. Repeatable.")
    ] = None,
    operators: Operators = None,
    detectors: Annotated[str | None, typer.Option("--detectors", help="Detectors, separated by commas; all unless given.")] = None,
    plugins: Annotated[
        str | None, typer.Option(help="Modules or files that register operators, detectors or subjects, separated by commas.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Campaign folder, or the folder of several; results/<model>-<time> unless given.")
    ] = None,
    seed: Seed = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many mutants, sampled so that every operator keeps its share.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="A share of the mutants, 10%, from every operator and depth; the weights are a column.")
    ] = None,
    sites: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="At most so many sites of each operator that changes values, sampled; 0 for all. The others are complete. "
            "8 unless given, all with --sample.",
            show_default=False,
        ),
    ] = None,
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
            help="GiB of activations that each worker's engine retains; beyond, it computes them again. "
            "A quarter of the memory, divided among the workers, unless given."
        ),
    ] = None,
    level: AtLevel = "graph",
    device: Device = "cpu",
    input_shape: Input = None,
    threshold: Annotated[list[str] | None, typer.Option("--threshold", help="name=value; see gradfuzz.Thresholds. Repeatable.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, envvar="GRADFUZZ_JOBS", help="Worker processes, one for each core unless given; 1 works in this process."
        ),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="How long one mutant may take, 90s, with its detectors; derived from its subject unless given.")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(help="GiB that one worker may hold; its share of nine tenths of the memory unless given.")
    ] = None,
    time_budget: Annotated[str | None, typer.Option(help="Begin nothing new after this time, 2h; --resume goes on.")] = None,
    shard: Annotated[str | None, typer.Option(help="I/N: the I-th of N parts, for `gradfuzz merge`.")] = None,
    executor: Annotated[str, typer.Option(help="Where workers run: local, or ray.")] = "local",
    ray_address: Annotated[str | None, typer.Option(help="A running Ray cluster; unless given, one is started on this machine.")] = None,
    gpus_per_worker: Annotated[float, typer.Option(min=0.0, help="What a worker asks of Ray.")] = 0.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish what was interrupted in --out, and measure again what is stale there.")
    ] = False,
    as_json: AsJson = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="For programs: one JSON document a line while it runs.")] = False,
) -> None:
    """Break models in every way, measure each break, and ask the detectors.

    What `[tool.gradfuzz]` of ./pyproject.toml says is the default of these options. Exit code 2 if one of several models was refused.

    Examples:

      gradfuzz run --model resnet18

      gradfuzz run --model my_train.py:make_case --operators block,flag --limit 500 --out results/mine

      gradfuzz run --models zoo.txt --sample 10% --time-budget 2h --out results/zoo
    """
    from gradfuzz import campaign
    from gradfuzz.cli import running

    share = running.share(sample)
    several = [
        campaign.Settings(
            model=name,
            operators=names(operators),
            detectors=names(detectors),
            seed=seed,
            limit=limit,
            sites=((8 if share is None else 0) if sites is None else sites) or None,
            engine=engine,
            device=check_device(device),
            input_shape=shape(input_shape),
            thresholds=thresholds(threshold or []),
            verify=verify,
            activation_memory=activation_memory,
            sample=share,
            shard=running.shard(shard),
            plugins=names(plugins) or (),
            level=level,
        )
        for name in running.models(model or [], models or [])
    ]
    execution = campaign.Execution(
        jobs=jobs,
        time_limit=running.seconds(time_limit, "--time-limit"),
        memory_limit=memory_limit,
        time_budget=running.seconds(time_budget, "--time-budget"),
        executor=executor,
        ray_address=ray_address,
        gpus_per_worker=gpus_per_worker,
    )
    code = running.run(several, execution, out, resume=resume, as_json=as_json, json_lines=json_lines)
    if code:
        raise typer.Exit(code)


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Campaign folders, or folders of such.")],
    out: Annotated[Path, typer.Option("--out", help="Where to put the whole.")],
) -> None:
    """Put shards of one campaign together. Folders that disagree on a mutant are refused.

    Example: gradfuzz merge results/part-1 results/part-2 --out results/whole
    """
    from gradfuzz.campaign.merging import merge as merge_folders
    from gradfuzz.report.writing import write_default
    from gradfuzz.store import load

    for folder in merge_folders(folders, out):
        tables = load(folder)
        print(f"{folder}: {len(tables.mutants)} of {tables.manifest['planned']} rows, {write_default(tables, folder)[0].name}")
