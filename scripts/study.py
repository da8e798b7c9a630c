"""The study: which architectures are fragile, and who notices.

python scripts/study.py --work DIR       measure all models into DIR (goes on where it was interrupted), then write results/study
python scripts/study.py --from-tables    write every figure, table, the report and the findings again from what results/study holds
python scripts/study.py --work DIR --models FILE    another list of models, one name a line, for example of further families

All classification models of torchvision in train mode and, for the cuts alone, in eval mode, and the whole corpus. Operators that leave
values alone: a quarter of their mutants, stratified by depth; others: one mutant of each, since those cost passes of their own. Models
beyond ``HEAVY`` get the former only. Every mutant has the weight of those that it stands for.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from study_findings import findings, modes

from gradfuzz.analysis.structure import Structure
from gradfuzz.campaign import Execution, Settings
from gradfuzz.campaign.run import run_all
from gradfuzz.cli.progress import PlainProgress
from gradfuzz.errors import BadInput
from gradfuzz.report import figures
from gradfuzz.report.many import Many
from gradfuzz.report.manypage import drawings
from gradfuzz.report.reading import Campaign, read
from gradfuzz.report.writing import write_many
from gradfuzz.store import Tables
from gradfuzz.subjects import providers

OUT = Path("results/study")
PLUGIN = str(Path(__file__).with_name("eval_mode.py"))
SAMPLE, SITES = 0.25, 2
CUT = ("insert-detach",)
KEEPING = ("block", "flag")
_HEAVY = """
    convnext_base convnext_large densenet161 densenet201 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m
    inception_v3 maxvit_t regnet_x_16gf regnet_x_32gf regnet_y_16gf regnet_y_32gf regnet_y_128gf resnet152 resnext101_32x8d
    resnext101_64x4d swin_b swin_s swin_v2_b swin_v2_s vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2
"""
HEAVY = frozenset(_HEAVY.split())
"""Models of which a mutant that changes values takes ten seconds or so: all its passes, in float64 too."""
MANIFEST = ("campaign", "command", "status", "live_numel", "live_parameters", "instructions", "loss", "possible", "planned", "seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder of the campaigns")
    parser.add_argument("--models", type=Path, help="file with one model a line, in the place of all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--from-tables", action="store_true")
    options = parser.parse_args()
    if options.from_tables is (options.work is not None):
        raise BadInput("say where to measure, --work DIR, or that nothing is to be measured, --from-tables")
    if options.work:
        wanted = options.models.read_text("utf-8").split() if options.models else everything()
        began = time.monotonic()
        refused = measure([order(model, options.work) for model in wanted], options.jobs)
        collect(options.work, options.out, refused, time.monotonic() - began)
    write(options.out)
    return 0


# --- measuring


def everything() -> list[str]:
    corpus = [name for name in providers["corpus"].names() if "/" not in name]
    zoo = list(providers["torchvision"].names())
    return [
        *(f"corpus:{name}" for name in corpus),
        *(f"torchvision:{name}" for name in zoo),
        *(f"eval:{name}" for name in zoo if name not in HEAVY and name not in ("googlenet", "inception_v3")),
    ]


def order(model: str, work: Path) -> tuple[Settings, Path]:
    """What is asked of a model, and where its campaign lies."""
    provider, _, name = model.partition(":")
    operators = CUT if provider == "eval" else KEEPING if name in HEAVY else None
    sample, sites = (None, 8) if provider == "corpus" else (SAMPLE, SITES)
    plugins = (PLUGIN,) if provider == "eval" else ()
    sample = None if provider == "eval" else sample  # all cuts, so that those of the sample in train mode are among them
    return Settings(model, operators=operators, sample=sample, sites=sites, plugins=plugins), work / f"{provider}-{name}"


def measure(orders: list[tuple[Settings, Path]], jobs: int) -> dict[str, str]:
    """Models that could not be measured, with the reason."""
    with PlainProgress(len(orders)) as progress:
        outcomes = run_all(orders, resume=True, progress=progress, command="python scripts/study.py", execution=Execution(jobs=jobs))
    return {one.model: str(one.error) for one in outcomes if one.error}


# --- tables


def collect(work: Path, out: Path, refused: dict[str, str], seconds: float) -> None:
    """All campaigns in three Parquet files, and what is known of each model in one of JSON."""
    campaigns = [read(folder.parent) for folder in sorted(work.glob("*/manifest.json"))]
    done = [one for one in campaigns if one.tables.manifest["status"] == "complete"]
    out.mkdir(parents=True, exist_ok=True)
    many = Many(done)
    parts = {
        "mutants": pd.concat([one.tables.mutants for one in done]),
        "verdicts": pd.concat([one.tables.verdicts for one in done]).drop(columns="message"),
        "parameters": many.tables.parameters,
    }
    for name, frame in parts.items():
        short = {column: "float32" for column in ("seconds", "gradient_error") if column in frame}
        frame.astype(short).reset_index(drop=True).to_parquet(out / f"{name}.parquet", compression="zstd", index=False)
    models = [
        {
            "manifest": {key: one.tables.manifest[key] for key in MANIFEST},
            "structure": asdict(one.structure) if one.structure else None,
        }
        for one in done
    ]
    about = {"models": models, "refused": refused, "seconds": round(seconds), "hardware": done[0].tables.manifest["hardware"]}
    (out / "models.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", "utf-8")


def campaigns_of(out: Path) -> list[Campaign]:
    """The campaigns again, without what a study does not need."""
    about = json.loads((out / "models.json").read_text("utf-8"))
    frames = {name: pd.read_parquet(out / f"{name}.parquet") for name in ("mutants", "parameters", "verdicts")}
    subjects = frames["mutants"].set_index("mutant")["subject"]
    frames["parameters"]["subject"] = frames["parameters"]["mutant"].map(subjects)
    groups = {name: dict(list(frame.groupby("subject"))) for name, frame in frames.items()}
    found = []
    for model in about["models"]:
        name = model["manifest"]["campaign"]["model"]
        tables = {key: groups[key].get(name, frames[key].iloc[:0]).reset_index(drop=True) for key in frames}
        kind = Structure(**model["structure"]) if model["structure"] else None
        found.append(Campaign(Tables(**tables, manifest=model["manifest"]), kind=kind))
    return found


# --- what is shown


def write(out: Path) -> None:
    about = json.loads((out / "models.json").read_text("utf-8"))
    campaigns = campaigns_of(out)
    train = Many([one for one in campaigns if not one.model.startswith("eval:")])
    still = Many([one for one in campaigns if one.model.startswith("eval:")])
    write_many(train, out, ("html", "md", "csv"))
    drawn = out / "figures"
    drawn.mkdir(exist_ok=True)
    for name, (label, figure) in drawings(train).items():
        (drawn / f"{name}.svg").write_text(on_paper(figures.svg(figure, label)), "utf-8")
    modes(train, still).to_csv(out / "tables" / "modes.csv", index=False)
    (out / "README.md").write_text(findings(train, still, about), "utf-8")
    print(f"{len(train.campaigns)} models, {len(still.campaigns)} of them in eval mode too: {out}/README.md, report.html, figures/")


def on_paper(svg: str) -> str:
    """A figure that stands alone, dark on white wherever it is shown."""
    return svg.replace("currentColor", "#333333").replace(">", '><rect width="100%" height="100%" fill="#ffffff"/>', 1) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(f"study: {error}")
