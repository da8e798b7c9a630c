"""Several campaign folders into one: shards of one campaign, or of many models at once. No torch here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gradfuzz.campaign import identity
from gradfuzz.errors import BadInput
from gradfuzz.store import TABLES, Store, check_ours, read_manifest, write_json, write_manifest

IGNORED = ("seconds",)
"""Columns that two runs of one mutant need not share."""
Stored = tuple[int, dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], str]


def merge(folders: Sequence[Path], out: Path) -> list[Path]:
    """Put the rows of some folders together: one folder for each model, ``out`` itself where there is one model.

    Raises ``BadInput`` where the folders are not of one campaign, and where two of them disagree on a mutant that both have.
    """
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty: choose another --out")
    by_model: dict[str, list[Path]] = {}
    for folder in folders:
        for one in campaigns_in(folder):
            manifest = read_manifest(one)
            assert manifest is not None
            by_model.setdefault(manifest["campaign"]["model"], []).append(one)
    if len(by_model) == 1:
        _merge_one(next(iter(by_model.values())), out)
        return [out]
    places = {model: out / several[0].name for model, several in by_model.items()}
    if len(set(places.values())) < len(places):
        raise BadInput(f"two models would share a folder in {out}: merge one model at a time")
    for model, several in by_model.items():
        _merge_one(several, places[model])
    return list(places.values())


def campaigns_in(folder: Path) -> list[Path]:
    """The folder itself if it is a campaign's, else those directly in it."""
    if read_manifest(folder) is not None:
        return [folder]
    found = [one for one in sorted(folder.iterdir()) if one.is_dir() and read_manifest(one) is not None] if folder.is_dir() else []
    if not found:
        raise BadInput(f"{folder} is no campaign folder and holds none: name the --out of a run")
    return found


def _merge_one(folders: Sequence[Path], out: Path) -> None:
    manifests = [read_manifest(folder) or {} for folder in folders]
    first = manifests[0]
    for folder, manifest in zip(folders[1:], manifests[1:], strict=True):
        one, other = ({**each["campaign"], "shard": None} for each in (first, manifest))
        found = identity.differences(one, other) or identity.differences(first.get("parts", {}), manifest.get("parts", {}))
        if found:
            raise BadInput(
                f"{folders[0]} and {folder} are not of one campaign ({'; '.join(list(found.values())[:3])}): merge those that are"
            )
    planned = first.get("planned_in_all", first["planned"])
    merged = {**first, "campaign": {**first["campaign"], "shard": None}, "planned": planned, "status": "running"}
    write_manifest(out, merged)
    origin: dict[str, Path] = {}
    store = Store(out)
    try:
        for folder in folders:
            fresh = []
            for row in stored_rows(folder):
                text = row[1]["mutant"]
                if text in origin:
                    _compare(text, row, next(stored_rows(out, text)), folder, origin[text])
                else:
                    origin[text] = folder
                    fresh.append(row)
                    if len(fresh) == 1000:
                        store.append_all(fresh)
                        fresh = []
            store.append_all(fresh)
        _finish(out, store, merged, manifests, folders, complete=len(origin) == planned)
    finally:
        store.close()


def _finish(
    out: Path, store: Store, merged: dict[str, Any], manifests: Sequence[dict[str, Any]], folders: Sequence[Path], complete: bool
) -> None:
    for name in ("graph.json", "code.json"):
        found: dict[str, Any] = {}
        for folder in folders:
            if (folder / name).exists():
                found |= json.loads((folder / name).read_text(encoding="utf-8"))
        write_json(out / name, found)
    if not complete:
        return
    store.export()
    sums: dict[str, dict[str, int]] = {"handed_over": {}, "failed": {}}
    for manifest in manifests:
        for key, total in sums.items():
            for name, count in manifest.get(key, {}).items():
                total[name] = total.get(name, 0) + count
    seconds = round(sum(manifest.get("seconds", 0.0) for manifest in manifests), 2)
    write_manifest(out, {**merged, **sums, "status": "complete", "seconds": seconds})


def stored_rows(folder: Path, only: str | None = None) -> Iterator[Stored]:
    """Every mutant of a folder with all of its rows, as they are stored. only: the text of one mutant."""
    address = f"{(folder / 'campaign.sqlite').absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        check_ours(connection, folder, new=False)
        chosen, wanted = (" WHERE mutant = ?", (only,)) if only is not None else ("", ())
        order = " ORDER BY position, rowid"
        cursors = {
            table: _grouped(
                connection.execute(f"SELECT position, mutant, {', '.join(TABLES[table])} FROM {table}{chosen}{order}", wanted), table
            )
            for table in ("parameters", "verdicts")
        }
        columns = list(TABLES["mutants"])
        pending = {table: next(cursor, None) for table, cursor in cursors.items()}
        for position, key, *values in connection.execute(f"SELECT position, key, {', '.join(columns)} FROM mutants{chosen}{order}", wanted):
            mutant = dict(zip(columns, values, strict=True))
            further = {}
            for table, cursor in cursors.items():
                group = pending[table]
                if group is not None and group[0] == mutant["mutant"]:
                    further[table], pending[table] = group[1], next(cursor, None)
            yield position, mutant, further.get("parameters", []), further.get("verdicts", []), key


def _grouped(rows: Iterator[tuple[Any, ...]], table: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows in the order of the plan, those of one mutant together."""
    name, group = "", list[dict[str, Any]]()
    for _, mutant, *values in rows:
        if mutant != name and group:
            yield name, group
            group = []
        name = mutant
        group.append(dict(zip(TABLES[table], values, strict=True)))
    if group:
        yield name, group


def _compare(text: str, row: Stored, other: Stored, folder: Path, origin: Path) -> None:
    for table, one, two in (("mutants", [row[1]], [other[1]]), ("parameters", row[2], other[2]), ("verdicts", row[3], other[3])):
        if len(one) != len(two):
            raise BadInput(f"{origin} and {folder} disagree on {text}: {len(two)} and {len(one)} rows of {table}")
        for a, b in zip(one, two, strict=True):
            column = next((name for name in a if name not in IGNORED and a[name] != b[name]), None)
            if column is not None:
                what = f"{column} is {b[column]!r} and {a[column]!r}"
                raise BadInput(f"{origin} and {folder} disagree on {text}: {what}. Replay it, and leave one of them out")
