"""The verbs ``run`` and ``merge``: what was asked for, on one model or on many."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.errors import BadInput
from gradfuzz.registry import near_miss

if TYPE_CHECKING:
    from gradfuzz.campaign import Execution, Outcome, Settings
    from gradfuzz.store import Tables

UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
INTERRUPTED = 130


def run(several: Sequence[Settings], execution: Execution, out: Path | None, *, resume: bool, as_json: bool, json_lines: bool) -> int:
    """Returns the exit code. One model: its campaign is ``out``. Several: each has a folder in it."""
    from gradfuzz.campaign import run_all
    from gradfuzz.cli.progress import make_progress

    orders, root = folders(several, out)
    command = " ".join(map(shlex.quote, ["gradfuzz", *sys.argv[1:]]))
    try:
        with ended_by_sigterm(), make_progress(len(orders), json_lines) as progress:
            found = run_all(orders, resume=resume, progress=progress, command=command, execution=execution)
    except KeyboardInterrupt:
        print(f"interrupted; what was finished is in {root}. {to_go_on(command, out, root, resume)}", file=sys.stderr)
        return INTERRUPTED
    if any(outcome.state == "stopped" for outcome in found):
        print(f"the time budget was spent; what was finished is in {root}. {to_go_on(command, out, root, resume)}", file=sys.stderr)
    if len(found) == 1:
        _show_one(found[0], as_json, json_lines)
    else:
        _show_several(found, root, as_json, json_lines)
    return 2 if any(outcome.error for outcome in found) else 0


def to_go_on(command: str, out: Path | None, root: Path, resume: bool) -> str:
    again = command if out else f"{command} --out {shlex.quote(str(root))}"
    return f"To go on: {again}{'' if resume else ' --resume'}"


def folders(several: Sequence[Settings], out: Path | None) -> tuple[list[tuple[Settings, Path]], Path]:
    """Each model with its folder, and the folder of all."""
    from gradfuzz.api import default_folder

    if len(several) == 1:
        root = out or default_folder(several[0].model)
        return [(several[0], root)], root
    root = out or default_folder("run")
    orders = [(settings, root / re.sub(r"[^\w.-]+", "-", settings.model).strip("-.")) for settings in several]
    names = [folder.name for _, folder in orders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"two of the models would share the folder {root / twice}: name each once")
    return orders, root


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, by which batch systems end a job, does what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_one(outcome: Outcome, as_json: bool, json_lines: bool) -> None:
    from gradfuzz.cli import terminal
    from gradfuzz.report.writing import write_default
    from gradfuzz.store import load

    if outcome.error:
        raise outcome.error
    if not (outcome.folder / "manifest.json").exists():
        raise BadInput(f"the time budget was spent before {outcome.model} was traced: give more")
    tables = load(outcome.folder)
    if tables.mutants.empty:
        raise BadInput(f"the time budget was spent before a mutant of {outcome.model} was measured: give more")
    report, *_ = write_default(tables, outcome.folder)
    if as_json or json_lines:
        found = terminal.summary(tables, outcome.folder)
        print(json.dumps({"event": "summary", **found}) if json_lines else json.dumps(found, indent=2))
    else:
        terminal.show_campaign(tables, outcome.folder, report)
        terminal.show_failed(tables)


def _show_several(found: Sequence[Outcome], root: Path, as_json: bool, json_lines: bool) -> None:
    from gradfuzz.cli import terminal
    from gradfuzz.report.writing import write_default
    from gradfuzz.store import load

    rows = []
    for outcome in found:
        measured: dict[str, Any] = {"rows": None, "faults": None, "silent": None, "without truth": None}
        if not outcome.error and (outcome.folder / "manifest.json").exists():
            tables = load(outcome.folder)
            if len(tables.mutants):
                write_default(tables, outcome.folder)
                measured = _figures(tables)
        rows.append({"model": outcome.model, "state": outcome.state, **measured, "reason": str(outcome.error or "")})
    if json_lines:
        for row in rows:
            print(json.dumps({"event": "summary", **row}))
    elif as_json:
        print(json.dumps({"folder": str(root), "models": rows}, indent=2))
    else:
        terminal.show_several(rows, root)
    for row in rows:
        if row["reason"]:
            print(f"gradfuzz: {row['model']}: {row['reason']}", file=sys.stderr)


def _figures(tables: Tables) -> dict[str, Any]:
    from gradfuzz.analysis.fragility import fragility

    found = fragility(tables)
    silent = None if found.silent != found.silent else round(found.silent, 4)
    return {
        "rows": len(tables.mutants),
        "faults": found.faults,
        "silent": silent,
        "without truth": int((tables.mutants.status != "ok").sum()),
    }


# --- reading what the user wrote


def models(names: Iterable[str], files: Iterable[Path]) -> tuple[str, ...]:
    """Named ones and those of files, one a line; what follows a # is a comment."""
    found = list(names)
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"--models {path} cannot be read ({error}): give a text file with one model a line") from error
        found += [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]
    if not found:
        raise BadInput("which model? Add --model, for example --model resnet18, or --models with a file that names one a line")
    return tuple(found)


def seconds(text: str | None, option: str) -> float | None:
    """``90s``, ``30min``, ``2h`` or ``1h30min`` -> seconds."""
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", "", text.strip().lower()) or any(unit not in UNITS for _, unit in parts):
        raise BadInput(f"'{text}' is no duration for {option}: write 90s, 30min, 2h or 1h30min")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def share(text: str | None) -> float | None:
    """``10%`` or ``0.1`` -> 0.1."""
    if text is None:
        return None
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise BadInput(f"'{text}' is no share for --sample: write 10% or 0.1") from None
    return value / 100 if text.strip().endswith("%") else value


def shard(text: str | None) -> tuple[int, int] | None:
    """``2/4`` -> (2, 4)."""
    if text is None:
        return None
    number, slash, count = text.partition("/")
    if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
        raise BadInput(f"'{text}' is no shard: write I/N, as in 2/4 for the second of four")
    return int(number), int(count)


def defaults(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """``[tool.gradfuzz]`` of the ``pyproject.toml`` in a folder, by the names of options of ``run``; tables in it are for others."""
    path = folder / "pyproject.toml"
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("gradfuzz", {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}): mend it") from error
    values = {key.replace("-", "_"): value for key, value in found.items() if not isinstance(value, dict)}
    for name, value in values.items():
        if name not in options:
            raise BadInput(
                f"{path}: [tool.gradfuzz] has no setting '{name}'.{near_miss(name, options)} They are the options of `gradfuzz run`"
            )
        if isinstance(value, list) and not options[name]:
            values[name] = ",".join(map(str, value))
    return values
