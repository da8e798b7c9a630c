"""A campaign folder: ``manifest.json``, ``campaign.sqlite`` while it runs, Parquet tables when it is done. No torch here.

All rows of a finished mutant come in one committed transaction, so that neither Ctrl-C nor kill -9 loses or doubles one. Parquet files and
the manifest are written under another name and renamed, so that a file is either whole or absent.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from gradfuzz.errors import BadInput, DamagedStore

APPLICATION = 0x67726466  # "grdf", says whose SQLite file this is
VERSION = 2
CHUNK = 20_000  # rows that are in memory at once while a campaign is exported
TABLES: dict[str, dict[str, str]] = {
    "mutants": {
        "mutant": "TEXT", "subject": "TEXT", "operator": "TEXT", "family": "TEXT", "level": "TEXT", "site": "TEXT", "kind": "TEXT",
        "variant": "TEXT", "module": "TEXT", "source": "TEXT", "effect": "TEXT", "cause": "TEXT", "faithful": "BOOLEAN",
        "silent": "BOOLEAN", "loss_changed": "BOOLEAN", "params": "INTEGER", "params_missing": "INTEGER", "params_zero": "INTEGER",
        "params_vanished": "INTEGER", "params_altered": "INTEGER", "params_nonfinite": "INTEGER", "params_stuck": "INTEGER",
        "numel_lost": "INTEGER",
        "gradient_error": "REAL", "signature": "TEXT", "status": "TEXT", "error": "TEXT", "engine": "TEXT", "seconds": "REAL",
        "seed": "INTEGER", "weight": "REAL",
    },
    "parameters": {"mutant": "TEXT", "parameter": "TEXT", "state": "TEXT", "norm_ratio": "REAL", "cosine": "REAL"},
    "verdicts": {
        "subject": "TEXT", "mutant": "TEXT", "detector": "TEXT", "status": "TEXT", "flagged": "BOOLEAN", "suspects": "TEXT",
        "rank": "REAL", "message": "TEXT", "seconds": "REAL",
    },
}  # fmt: skip
ABOUT = ("campaign", "status", "command", "inputs", "instructions", "loss", "live_parameters", "live_numel", "left_out", "planned")
"""What every manifest says."""
DTYPES = {"TEXT": "str", "BOOLEAN": "boolean", "INTEGER": "int64", "REAL": "float64"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tables:
    """The three tables of a campaign as DataFrames, and its manifest."""

    mutants: pd.DataFrame
    parameters: pd.DataFrame
    verdicts: pd.DataFrame
    manifest: dict[str, Any]

    def _repr_html_(self) -> str:
        """What a notebook shows. The report is a floor above, so it is named as text, as registries name what they load."""
        return str(import_module("gradfuzz.report.notebook").overview(self))


class Store:
    """The live store of one campaign. Only the process that runs the campaign writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / "campaign.sqlite", isolation_level=None)
            check_ours(self._connection, folder, new=True)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            for table, columns in TABLES.items():
                declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
                key = ", key TEXT, PRIMARY KEY (mutant)" if table == "mutants" else ""
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (position INTEGER, {declared}{key})")

    def finished(self) -> set[str]:
        """Texts of the mutants that have a row."""
        return set(self.keys())

    def keys(self) -> dict[str, str]:
        """Text of each mutant that has a row to the key that it was stored with."""
        with _explained(self.folder):
            return dict(self._connection.execute("SELECT mutant, key FROM mutants"))

    def failed(self, status: str) -> list[str]:
        """Texts of the mutants of that status, or with a verdict of that status."""
        query = "SELECT mutant FROM mutants WHERE status = ? UNION SELECT mutant FROM verdicts WHERE status = ?"
        with _explained(self.folder):
            return [row[0] for row in self._connection.execute(query, (status, status))]

    def append(self, position: int, mutant: Row, parameters: Sequence[Row], verdicts: Sequence[Row], key: str = "") -> None:
        """All rows of one mutant, or none of them. position: its place in the plan, by which the tables are sorted."""
        self.append_all([(position, mutant, parameters, verdicts, key)])

    def append_all(self, several: Sequence[tuple[int, Row, Sequence[Row], Sequence[Row], str]]) -> None:
        """All rows of several mutants, or none of them. key: of the row, see ``campaign.identity.keys``."""
        with self._transaction():
            for position, mutant, parameters, verdicts, key in several:
                for table, rows in (("mutants", [mutant]), ("parameters", parameters), ("verdicts", verdicts)):
                    columns = list(TABLES[table])
                    further = (key,) if table == "mutants" else ()
                    marks = ", ".join("?" * (len(columns) + 1 + len(further)))
                    self._connection.executemany(
                        f"INSERT INTO {table} VALUES ({marks})", [(position, *(row[name] for name in columns), *further) for row in rows]
                    )

    def settle(self, plan: Mapping[str, int], stale: Iterable[str]) -> None:
        """Take out the rows of stale mutants and of those that are not planned, and put the others where the plan has them."""
        with self._transaction() as connection:
            connection.execute("CREATE TEMP TABLE kept (mutant TEXT PRIMARY KEY, place INTEGER)")
            out = set(stale)
            connection.executemany("INSERT INTO kept VALUES (?, ?)", ((text, place) for text, place in plan.items() if text not in out))
            for table in TABLES:
                connection.execute(f"DELETE FROM {table} WHERE mutant NOT IN (SELECT mutant FROM kept)")
                moved = f"(SELECT place FROM kept WHERE kept.mutant = {table}.mutant)"
                connection.execute(f"UPDATE {table} SET position = {moved} WHERE position <> {moved}")
            connection.execute("DROP TABLE kept")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    def export(self) -> None:
        """Write the Parquet tables, sorted as planned: the same campaign gives the same bytes, times aside. Some rows at a time."""
        from pyarrow import Schema, Table, parquet

        with _explained(self.folder):
            for table in TABLES:
                schema = Schema.from_pandas(_frame(table, []), preserve_index=False)

                def write(path: Path, table: str = table, schema: Any = schema) -> None:
                    with parquet.ParquetWriter(path, schema) as writer:
                        for frame in read_chunks(self._connection, table):
                            writer.write_table(Table.from_pandas(frame, schema=schema, preserve_index=False))

                write_whole(self.folder / f"{table}.parquet", write)

    def close(self) -> None:
        self._connection.close()


def read_tables(connection: sqlite3.Connection) -> dict[str, pd.DataFrame]:
    """Each table in the order of the plan, with the dtypes that the Parquet files have."""
    return {table: pd.concat([_frame(table, []), *read_chunks(connection, table)], ignore_index=True) for table in TABLES}


def read_chunks(connection: sqlite3.Connection, table: str) -> Iterator[pd.DataFrame]:
    """The same of one table, some rows at a time."""
    cursor = connection.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY position, rowid")
    while rows := cursor.fetchmany(CHUNK):
        yield _frame(table, rows)


def _frame(table: str, rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    columns = TABLES[table]
    frame = pd.DataFrame(rows, columns=list(columns))
    for name, kind in columns.items():
        frame[name] = frame[name].astype(DTYPES[kind])  # type: ignore[call-overload]
    return frame


def check_ours(connection: sqlite3.Connection, folder: Path, *, new: bool) -> None:
    """Refuse a SQLite file of somebody else or of another version. new: whether an empty one may become ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if empty and new:
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={VERSION}")
    elif application != APPLICATION:
        raise DamagedStore(f"{folder / 'campaign.sqlite'} is not a gradfuzz campaign: choose another --out")
    elif version != VERSION:
        raise DamagedStore(f"{folder} was written by another version of gradfuzz (store {version}, here {VERSION}): choose another --out")


def load(folder: str | Path) -> Tables:
    """Read a campaign folder, finished or not; of a finished one, manifest and Parquet files are enough.

    Raises ``BadInput`` if there is none, ``DamagedStore`` if it cannot be read.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    exported = manifest is not None and manifest["status"] == "complete" and all((folder / f"{table}.parquet").exists() for table in TABLES)
    if manifest is None or not (exported or (folder / "campaign.sqlite").exists()):
        raise BadInput(f"{folder} is no campaign folder: it has no {'manifest.json' if manifest is None else 'campaign.sqlite'}")
    with _explained(folder):
        if exported:
            frames = {table: _read_parquet(folder / f"{table}.parquet", columns) for table, columns in TABLES.items()}
        else:
            address = f"{(folder / 'campaign.sqlite').absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as connection:
                check_ours(connection, folder, new=False)
                frames = read_tables(connection)
    return Tables(frames["mutants"], frames["parameters"], frames["verdicts"], manifest)


def _read_parquet(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    advice = "remove that one file, and the rows are read from campaign.sqlite beside it"
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DamagedStore(f"{path} cannot be read ({error}): {advice}") from error
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise DamagedStore(f"{path} has no column '{absent[0]}', so it is not ours: {advice}")
    return frame


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest, or None where there is none."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedStore(f"{folder / 'manifest.json'} cannot be read ({error}): choose another --out or remove the folder") from error
    absent = [key for key in ABOUT if key not in found] if isinstance(found, dict) else ["campaign"]
    if absent or not isinstance(found["campaign"], dict):
        what = f"{folder / 'manifest.json'} is no manifest of gradfuzz (without '{(absent or ['campaign'])[0]}')"
        raise DamagedStore(f"{what}: choose another folder")
    return found  # type: ignore[no-any-return]


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    write_json(folder / "manifest.json", manifest, indent=2)


def write_json(path: Path, value: Mapping[str, Any], indent: int | None = None) -> None:
    with _explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n"
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Any) -> None:
    """Write a file under a temporary name beside it, then rename: readers see the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _explained(path.parent):
        try:
            write(temporary)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """File and database errors as one line that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        advice = {
            "database or disk is full": "the disk is full: free some space and run again with --resume, what was finished is kept",
            "file is not a database": "campaign.sqlite is damaged: choose another --out",
            "database disk image is malformed": "campaign.sqlite is damaged: choose another --out",
            "database is locked": "another gradfuzz is writing there: wait for it or choose another --out",
            "UNIQUE constraint failed": "another gradfuzz is writing there: wait for it or choose another --out",
        }
        text = str(error)
        otherwise = "choose another --out, or mend the folder and run again with --resume"
        hint = next((line for key, line in advice.items() if key in text), otherwise)
        raise DamagedStore(f"{folder}: {text} - {hint}") from error
    except OSError as error:
        hint = "choose a folder that can be written with --out, or free some space"
        raise DamagedStore(f"{folder}: {error.strerror or error} - {hint}") from error
    except ValueError as error:
        raise DamagedStore(f"{folder}: {error} - choose another --out") from error
