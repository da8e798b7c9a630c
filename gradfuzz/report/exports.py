"""The tables of a report for other programs: CSV files, one JSON document, LaTeX with booktabs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gradfuzz.store import write_whole

Tables = Mapping[str, pd.DataFrame]
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
}  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


def write_csv(tables: Tables, folder: Path) -> list[Path]:
    """``tables/NAME.csv`` in the folder. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    (folder / "tables").mkdir(exist_ok=True)
    paths = []
    for name, table in tables.items():
        path = folder / "tables" / f"{name}.csv"
        safe = table.map(lambda value: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) and value != "-" else value)
        write_whole(path, lambda temporary, safe=safe: safe.to_csv(temporary, index=False))
        paths.append(path)
    return paths


def write_json(tables: Tables, about: Mapping[str, Any], folder: Path) -> Path:
    """``report.json``: what was done, and each table as a list of records. NaN is null."""
    document = {**about, "tables": {name: [plain(row) for row in table.to_dict("records")] for name, table in tables.items()}}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return _text(folder / "report.json", text)


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if value is None or value is pd.NA:
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_latex(tables: Tables, title: str, folder: Path) -> Path:
    """``report.tex``: one ``table`` environment for each, to be put into a paper that loads booktabs."""
    parts = [f"% {' '.join(title.split())}, made by gradfuzz. Needs \\usepackage{{booktabs}}."]
    parts += [latex(table, f"{title}: {name.replace('_', ' ')}", f"tab:{name}") for name, table in tables.items()]
    return _text(folder / "report.tex", "\n\n".join(parts) + "\n")


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    kinds = "".join("r" if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) else "l" for kind in table.dtypes)
    rows = [" & ".join(latex_cell(value) for value in row) + r" \\" for row in table.itertuples(index=False, name=None)]
    header = " & ".join(latex_cell(str(name).replace("_", " ")) for name in table.columns) + r" \\"
    return "\n".join(
        [
            r"\begin{table}", rf"\caption{{{latex_cell(caption)}}}", rf"\label{{{label}}}", rf"\begin{{tabular}}{{{kinds}}}", r"\toprule",
            header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]
    )  # fmt: skip


def latex_cell(value: object) -> str:
    """Nothing in it is a command. Numbers have three significant digits behind the point at most."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "--"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-2 or abs(value) >= 1e4 else f"{value:.3f}".rstrip("0").rstrip(".")
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return "".join(LATEX.get(character, character) for character in text)


def _text(path: Path, text: str) -> Path:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
