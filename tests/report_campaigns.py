"""Small campaign folders made by hand, so that reports can be tested with known numbers and without torch. No tests here."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from benchmark_tables import table

HOSTILE = "<script>window.hacked=1</script>"
SILENT = {
    "status": "ok",
    "params": 3,
    "weight": 1.0,
    "seconds": 0.5,
    "kind": "node",
    "silent": True,
    "loss_changed": False,
    "family": "block",
}
NUMEL = {"a.weight": 80, "c.weight": 10, "c.bias": 10}


def nodes(module: str = "block", prefix: str = "") -> list[dict[str, Any]]:
    """a -> b -> c -> d -> loss, and b again straight into d: one residual branch."""
    rows = [("a", "conv2d", [], [0]), ("b", "relu", ["a"], []), ("c", "linear", ["b"], [1, 2]), ("d", "add", ["c", "b"], [])]
    rows.append(("loss", "mse_loss", ["d"], []))
    severed = {"a": "1", "b": "1", "c": "6", "d": "7", "loss": "7"}
    return [
        {
            "name": prefix + name, "op": op, "module": f"{module}.{name}" if name != "loss" else "loss", "module_class": "torch.nn.Thing",
            "source": f"net.py:{line}", "stop": False, "reads": [prefix + read for read in reads], "parameters": numbers,
            "severed": severed[name], "altered": "1" if name == "c" else "0",
        }
        for line, (name, op, reads, numbers) in enumerate(rows, start=10)
    ]  # fmt: skip


def mutants(model: str, module: str = "block", prefix: str = "") -> list[dict[str, Any]]:
    """The control, a cut of every value and of one use, and one mutant each of what else there is."""
    rows = [
        ("none", ".", {"effect": "equivalent", "family": "control", "kind": "subject"}),
        ("insert-detach", "a", {"effect": "dead", "cause": "cut", "numel_lost": 80}),
        ("insert-detach", "b", {"effect": "dead", "cause": "cut", "numel_lost": 80}),
        ("insert-detach", "c", {"effect": "dead", "cause": "cut", "numel_lost": 20}),
        ("insert-detach", "d", {"effect": "dead", "cause": "cut", "numel_lost": 100}),
        ("insert-detach", "loss", {"effect": "raises", "cause": "cut", "silent": False, "error": "no grad_fn"}),
        ("insert-detach", "b->d", {"effect": "altered", "cause": "biased", "kind": "edge", "gradient_error": 0.5}),
        ("zero-weight", "a.weight", {"effect": "dead", "cause": "flat", "numel_lost": 80, "loss_changed": True, "weight": 3.0}),
        ("flip", "a", {"effect": "equivalent", "family": "flag"}),
        ("double-softmax", "c", {"effect": "altered", "cause": "changed", "loss_changed": True, "faithful": True}),
        ("swap", "c", {"effect": "invalid", "silent": False, "error": "shapes differ"}),
    ]  # fmt: skip
    made = []
    for number, (operator, site, more) in enumerate(rows):
        text = "->".join(prefix + part if part.isalpha() and part != "." else part for part in site.split("->"))
        place = {"module": f"{module}.{site[0]}", "source": "net.py:10", "signature": f"{more['effect']}{number}"}
        named = f"{model}::{operator}::{text}"
        made.append({"mutant": named, "subject": model, "operator": operator, "site": text, "faithful": False} | SILENT | place | more)
    return made


def verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """sees-none flags what is dead by a cut, cries-wolf flags everything, crashes never gives a verdict."""
    made = []
    for row in rows:
        if row["effect"] == "invalid":
            continue
        for detector, flagged, status in (
            ("cries-wolf", row["operator"] != "insert-detach" or "->" not in row["site"], "ok"),
            ("crashes", False, "error"),
            ("sees-none", row["effect"] == "dead" and row["cause"] == "cut", "ok"),
        ):
            given = {"subject": row["subject"], "mutant": row["mutant"], "detector": detector, "status": status, "flagged": flagged}
            made.append({**given, "suspects": "[]", "seconds": 0.001, "rank": float("nan")})
    return made


def parameters(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lost = {80: ["a.weight"], 20: ["c.weight", "c.bias"], 100: list(NUMEL)}
    made = [
        {"mutant": row["mutant"], "parameter": name, "state": "missing", "norm_ratio": 0.0, "cosine": float("nan")}
        for row in rows
        for name in lost.get(row.get("numel_lost", 0), [])
    ]
    biased = next((row["mutant"] for row in rows if row["cause" if "cause" in row else "effect"] == "biased"), None)
    return [*made, *([{"mutant": biased, "parameter": "a.weight", "state": "altered", "norm_ratio": 0.5, "cosine": 0.9}] if biased else [])]


def made(
    folder: Path, model: str = "made:net", *, module: str = "block", prefix: str = "", graph: bool = True,
    rows: list[dict[str, Any]] | None = None, said: list[dict[str, Any]] | None = None, status: str = "complete", **manifest: Any,
) -> Path:  # fmt: skip
    """A finished campaign folder. rows: of the table of mutants; said: of the table of verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = mutants(model, module, prefix) if rows is None else rows
    said = verdicts(rows) if said is None else said
    for name, part in (("mutants", rows), ("parameters", parameters(rows)), ("verdicts", said)):
        table(name, part).to_parquet(folder / f"{name}.parquet", index=False)
    settings = {"model": model, "seed": 7, "input_shape": "2x3", "engine": "shared", "device": "cpu", "operators": None, "detectors": None}
    about = {
        "campaign": {**settings, "thresholds": {"same": 1e-6}, "versions": {"gradfuzz": "0.1.0", "torch": "2.13.0"}}, "status": status,
        "command": f"gradfuzz run --model {model}", "inputs": {"x": "(2, 3)"}, "instructions": 5, "loss": 1.0, "live_parameters": 3,
        "live_numel": 100, "left_out": {}, "intended": {}, "planned": len(rows), "possible": len(rows),
        "hardware": {"cores": 2}, "seconds": 3.0,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({**about, **manifest}), encoding="utf-8")
    if graph:
        names = [{"name": name, "numel": numel, "live": True} for name, numel in NUMEL.items()]
        drawn = {"version": 1, "subject": model, "parameters": names, "nodes": nodes(module, prefix), "quiet": 2, "output": f"{prefix}loss"}
        (folder / "graph.json").write_text(json.dumps(drawn), encoding="utf-8")
    code = {f"{model}::insert-detach::{prefix}d": {"before": ["loss = mse_loss(d)"], "after": ["d__detach = detach(d)"]}}
    (folder / "code.json").write_text(json.dumps(code), encoding="utf-8")
    sqlite3.connect(folder / "campaign.sqlite").close()
    return folder
