"""The store keeps what was finished, whatever happens, and says in one line what is wrong with a folder."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gradfuzz import store
from gradfuzz.errors import BadInput, DamagedStore, GradfuzzError
from gradfuzz.store import TABLES, Store, load, read_manifest, write_manifest, write_whole

EMPTY = {"TEXT": "", "BOOLEAN": False, "INTEGER": 0, "REAL": 0.0}
MANIFEST = {
    "campaign": {"model": "corpus:mlp", "seed": 0, "engine": "naive", "versions": {"torch": "2"}}, "status": "running", "command": "",
    "inputs": {}, "instructions": 1, "loss": 1.0, "live_parameters": 1, "live_numel": 10, "left_out": {}, "planned": 3,
}  # fmt: skip


def row(table: str, **values: Any) -> dict[str, Any]:
    return {name: EMPTY[kind] for name, kind in TABLES[table].items()} | values


def add(to: Store, position: int, name: str, parameters: int = 2) -> None:
    to.append(
        position,
        row("mutants", mutant=name, effect="dead", faithful=None, gradient_error=float("nan")),
        [row("parameters", mutant=name, parameter=f"w{k}", norm_ratio=k / 3, cosine=float("nan")) for k in range(parameters)],
        [row("verdicts", mutant=name, detector="grad-none", flagged=True)],
    )


def made(folder: Path, names: tuple[str, ...] = ("b", "c", "a")) -> Path:
    """An unfinished campaign whose rows came in another order than planned."""
    write_manifest(folder, MANIFEST)
    kept = Store(folder)
    for position in (2, 0, 1):
        add(kept, position, names[position])
    kept.close()
    return folder


def finished(folder: Path) -> Path:
    made(folder)
    kept = Store(folder)
    kept.export()
    kept.close()
    write_manifest(folder, {**MANIFEST, "status": "complete"})
    return folder


def one_line(error: GradfuzzError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_rows_survive_closing_and_opening_again(tmp_path: Path) -> None:
    kept = Store(made(tmp_path))
    assert kept.finished() == {"a", "b", "c"}
    kept.close()
    tables = load(tmp_path)
    assert tables.mutants.mutant.tolist() == ["b", "c", "a"]
    assert tables.parameters.parameter.tolist() == ["w0", "w1"] * 3
    assert tables.verdicts.flagged.tolist() == [True] * 3


def test_what_is_written_is_there_without_closing(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    kept = Store(tmp_path)
    add(kept, 0, "a")
    assert load(tmp_path).mutants.mutant.tolist() == ["a"]
    kept.close()


CELLS = {
    "TEXT": st.text(),
    "BOOLEAN": st.none() | st.booleans(),
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "REAL": st.floats(),
}


@given(st.fixed_dictionaries({name: CELLS[kind] for name, kind in TABLES["mutants"].items()}))
def test_any_value_of_a_column_comes_back(tmp_path_factory: pytest.TempPathFactory, values: Mapping[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("store")
    kept = Store(folder)
    kept.append(0, values, [], [])
    kept.export()
    kept.close()
    for status in ("running", "complete"):
        write_manifest(folder, {**MANIFEST, "status": status})
        (found,) = load(folder).mutants.to_dict("records")
        for name, value in values.items():
            assert found[name] == value or (pd.isna(found[name]) and (value is None or value != value)), (status, name)


def test_the_rows_of_a_mutant_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    kept = Store(made(tmp_path))
    with pytest.raises(KeyError):
        kept.append(3, row("mutants", mutant="d"), [row("parameters", mutant="d")], [{"mutant": "d"}])
    with pytest.raises(DamagedStore, match="another gradfuzz is writing there"):
        add(kept, 4, "a", parameters=5)
    assert kept.finished() == {"a", "b", "c"}
    add(kept, 3, "d")  # and the store is still good
    kept.close()
    assert len(load(tmp_path).parameters) == 8


def test_tables_come_in_the_order_of_the_plan_and_with_the_same_bytes(tmp_path: Path) -> None:
    write_manifest(tmp_path / "straight", MANIFEST)
    kept = Store(tmp_path / "straight")
    for position, name in enumerate(("b", "c", "a")):
        add(kept, position, name)
    kept.export()
    kept.close()
    finished(tmp_path / "mixed")
    for table in TABLES:
        one, other = ((tmp_path / folder / f"{table}.parquet").read_bytes() for folder in ("straight", "mixed"))
        assert one == other


def test_a_finished_campaign_reads_as_it_did_before_it_was_finished(tmp_path: Path) -> None:
    before, after = load(made(tmp_path / "one")), load(finished(tmp_path / "two"))
    for table in TABLES:
        assert_frame_equal(getattr(before, table), getattr(after, table))
    assert {str(dtype) for dtype in after.mutants.dtypes} == {"str", "boolean", "int64", "float64"}
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        ["campaign.sqlite", "manifest.json", "mutants.parquet", "parameters.parquet", "verdicts.parquet"]
    )


def test_without_its_parquet_files_a_finished_campaign_is_read_from_sqlite(tmp_path: Path) -> None:
    expected = load(finished(tmp_path)).parameters
    (tmp_path / "parameters.parquet").unlink()
    assert_frame_equal(load(tmp_path).parameters, expected)


def test_of_a_finished_campaign_the_exported_files_are_enough(tmp_path: Path) -> None:
    expected = load(finished(tmp_path)).parameters
    (tmp_path / "campaign.sqlite").unlink()
    assert_frame_equal(load(tmp_path).parameters, expected)
    (tmp_path / "verdicts.parquet").unlink()
    with pytest.raises(BadInput, match=r"it has no campaign\.sqlite"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")

    def fails(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(DamagedStore, match="No space left on device - choose a folder that can be written"):
        write_whole(path, fails)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --- folders that are not ours, or damaged


def foreign_sqlite(folder: Path) -> None:
    (folder / "campaign.sqlite").unlink()
    with closing(sqlite3.connect(folder / "campaign.sqlite")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.execute("INSERT INTO recipes VALUES ('soup')")
        connection.commit()


def newer_sqlite(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "campaign.sqlite")) as connection:
        connection.execute("PRAGMA user_version=99")


def no_sqlite(folder: Path) -> None:
    (folder / "campaign.sqlite").write_bytes(b"not a database at all" * 99)


def truncated_sqlite(folder: Path) -> None:
    whole = (folder / "campaign.sqlite").read_bytes()
    (folder / "campaign.sqlite").write_bytes(whole[: len(whole) // 3])


def folder_in_its_place(folder: Path) -> None:
    (folder / "campaign.sqlite").unlink()
    (folder / "campaign.sqlite").mkdir()


SQLITE = {
    foreign_sqlite: "is not a gradfuzz campaign: choose another --out",
    newer_sqlite: r"written by another version of gradfuzz \(store 99, here 2\)",
    no_sqlite: "campaign.sqlite is damaged: choose another --out",
    truncated_sqlite: "damaged|malformed|disk I/O error",
    folder_in_its_place: "unable to open database file|disk I/O error",
}


@pytest.mark.parametrize("use", [load, Store], ids=["load", "Store"])
@pytest.mark.parametrize("damage", SQLITE, ids=lambda damage: damage.__name__)
def test_a_foreign_or_damaged_database_is_refused_in_one_line(tmp_path: Path, damage: Callable[[Path], None], use: Any) -> None:
    damage(made(tmp_path))
    path = tmp_path / "campaign.sqlite"
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DamagedStore, match=SQLITE[damage]) as caught:
        use(tmp_path)
    assert str(tmp_path) in one_line(caught.value)
    assert before is None or path.read_bytes() == before


def test_reading_an_empty_database_does_not_make_it_ours(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "campaign.sqlite").write_bytes(b"")
    with pytest.raises(DamagedStore, match="is not a gradfuzz campaign"):
        load(tmp_path)
    assert (tmp_path / "campaign.sqlite").read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("[]", "no manifest of gradfuzz"),
        ('{"name": "left-pad", "version": "1.0.0"}', "no manifest of gradfuzz"),
        (json.dumps({**MANIFEST, "campaign": 3}), "no manifest of gradfuzz"),
        (json.dumps({key: value for key, value in MANIFEST.items() if key != "live_numel"}), "without 'live_numel'"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_foreign_or_damaged_manifest_is_refused_in_one_line(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    made(tmp_path)
    (tmp_path / "manifest.json").write_bytes(text.encode() if isinstance(text, str) else text)
    for use in (load, read_manifest):
        with pytest.raises(DamagedStore, match=complaint) as caught:
            use(tmp_path)
        assert "choose another" in one_line(caught.value)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kept", [0.0, 0.5], ids=["emptied", "halved"])
def test_a_truncated_parquet_file_is_named_and_its_rows_are_not_lost(tmp_path: Path, table: str, kept: float) -> None:
    expected = load(finished(tmp_path))
    path = tmp_path / f"{table}.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DamagedStore, match=f"{table}.parquet cannot be read .*: remove that one file") as caught:
        load(tmp_path)
    one_line(caught.value)
    path.unlink()
    assert_frame_equal(getattr(load(tmp_path), table), getattr(expected, table))


def test_somebody_elses_parquet_file_is_refused(tmp_path: Path) -> None:
    finished(tmp_path)
    pd.DataFrame({"mutant": ["a"]}).to_parquet(tmp_path / "mutants.parquet")
    with pytest.raises(DamagedStore, match=r"mutants\.parquet has no column 'subject', so it is not ours"):
        load(tmp_path)


def test_a_folder_without_a_campaign_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no campaign folder: it has no manifest\.json"):
        load(tmp_path)
    write_manifest(tmp_path, MANIFEST)
    with pytest.raises(BadInput, match=r"it has no campaign\.sqlite"):
        load(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DamagedStore, match="choose a folder that can be written with --out"):
        Store(tmp_path / "file" / "campaign")
    with pytest.raises(DamagedStore, match="choose a folder that can be written with --out"):
        write_manifest(tmp_path / "file" / "campaign", MANIFEST)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_without_permission_is_refused_in_one_line(tmp_path: Path, mode: int) -> None:
    folder = made(tmp_path / "closed")
    folder.chmod(mode)
    try:
        with pytest.raises(DamagedStore, match="choose"):
            Store(folder)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["a b", "50%", "ünï#?&", "c;d"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    assert len(load(made(tmp_path / name)).mutants) == 3
    assert len(load(finished(tmp_path / f"{name}!")).mutants) == 3


FILL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from gradfuzz.errors import DamagedStore
from gradfuzz.store import Store
from test_store import add
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
done = 0
try:
    for done in range(10_000):
        add(kept, done, f"mutant {done} " + 2000 * "x")
except DamagedStore as error:
    print(done)
    print(error)
"""


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    """As the limit on a file's size stands in for the disk, SQLite says that the disk is full or that it cannot write."""
    assert resource.RLIMIT_FSIZE is not None
    write_manifest(tmp_path, MANIFEST)
    ran = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path), str(Path(__file__).parent)], capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    count, message = ran.stdout.splitlines()
    assert "disk" in message
    assert "--resume" in message
    kept = Store(tmp_path)
    assert len(kept.finished()) == int(count) > 0
    add(kept, 10_000, "after space was freed")
    kept.close()
    tables = load(tmp_path)
    assert tables.parameters.groupby("mutant").size().eq(2).all()
    assert len(tables.mutants) == len(tables.verdicts) == int(count) + 1


@pytest.mark.parametrize("step", ["export", "manifest"])
def test_a_full_disk_while_writing_tables_keeps_the_campaign_resumable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The device /dev/full is a disk that is full: the temporary files are sent there."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    folder = made(tmp_path / "campaign")
    kept = Store(folder)
    manifest = (folder / "manifest.json").read_bytes()
    for name in ("mutants.parquet", "manifest.json"):
        (folder / f".{name}.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(DamagedStore, match="No space left on device") as caught:
        kept.export() if step == "export" else write_manifest(folder, {**MANIFEST, "status": "complete"})
    one_line(caught.value)
    kept.close()
    assert (folder / "manifest.json").read_bytes() == manifest
    assert not (folder / "mutants.parquet").exists()
    assert len(load(folder).mutants) == 3


def test_a_second_writer_is_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Store(made(tmp_path))
    other = sqlite3.connect(tmp_path / "campaign.sqlite", isolation_level=None, timeout=0)
    kept._connection.execute("PRAGMA busy_timeout=0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DamagedStore, match="another gradfuzz is writing there: wait for it"):
        add(kept, 5, "z")
    other.execute("ROLLBACK")
    add(kept, 5, "z")
    other.close()
    kept.close()


def test_the_store_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", "import gradfuzz.store, sys; sys.exit('torch' in sys.modules)"], check=False)
    assert done.returncode == 0
    assert store.__doc__


# --- rows that are taken out and put in order


def test_settling_takes_out_what_is_stale_or_not_planned_and_moves_the_rest(tmp_path: Path) -> None:
    kept = Store(made(tmp_path))
    kept.settle({"c": 0, "a": 5, "new": 3}, stale=["a"])
    assert kept.finished() == {"c"}
    add(kept, 5, "a")
    add(kept, 3, "new")
    kept.close()
    tables = load(tmp_path)
    assert tables.mutants.mutant.tolist() == ["c", "new", "a"]
    assert tables.parameters.mutant.tolist() == ["c", "c", "new", "new", "a", "a"]
    assert tables.verdicts.mutant.tolist() == ["c", "new", "a"]


def test_settling_what_is_settled_changes_nothing(tmp_path: Path) -> None:
    before = load(made(tmp_path)).parameters
    kept = Store(tmp_path)
    kept.settle({"b": 0, "c": 1, "a": 2}, stale=())
    kept.close()
    assert_frame_equal(load(tmp_path).parameters, before)


def test_several_mutants_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    kept = Store(made(tmp_path))
    several = [(place, row("mutants", mutant=name), [row("parameters", mutant=name)], [], name * 2) for place, name in ((7, "x"), (8, "a"))]
    with pytest.raises(DamagedStore, match="another gradfuzz is writing there"):
        kept.append_all(several)
    assert kept.finished() == {"a", "b", "c"}
    kept.append_all(several[:1])
    assert kept.keys() == {"a": "", "b": "", "c": "", "x": "xx"}
    kept.close()


def test_mutants_are_found_by_their_status_and_by_that_of_their_verdicts(tmp_path: Path) -> None:
    kept = Store(made(tmp_path))
    kept.append(5, row("mutants", mutant="late", status="timeout"), [], [])
    kept.append(6, row("mutants", mutant="judged", status="ok"), [], [row("verdicts", mutant="judged", status="timeout")])
    assert sorted(kept.failed("timeout")) == ["judged", "late"]
    assert kept.failed("memory") == []
    kept.close()


def test_tables_that_are_exported_in_pieces_are_whole_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(finished(tmp_path / "at-once"))
    monkeypatch.setattr(store, "CHUNK", 2)
    found = load(finished(tmp_path / "in-pieces"))
    for table in TABLES:
        assert_frame_equal(getattr(found, table), getattr(expected, table))
