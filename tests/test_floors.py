"""Imports point down the listing of the package: a floor may use the floors below it and its own, never one above.

Registries name their built-in modules as text and load them late; that is the one road upwards, and this test does not see it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gradfuzz"

LISTING = (
    ("errors", "records", "registry"),
    ("subjects", "isolation"),
    ("graph",),
    ("operators",),
    ("engine",),
    ("truth", "detectors", "script", "check"),
    ("campaign", "store", "executors", "api", "testing", "benchmark"),
    ("analysis",),
    ("report", "fuzzing"),
    ("cli", "__init__", "__main__"),
)
FLOORS = {place: floor for floor, places in enumerate(LISTING) for place in places}
TORCH_FREE = ("errors", "records", "registry", "analysis", "report", "cli", "__init__")
TORCH = frozenset({"torch", "torchvision", "timm", "transformers"})


@dataclass(frozen=True)
class Import:
    target: str  # dotted; a module of gradfuzz where it is one
    line: int
    at_import: bool  # runs when the importing module is imported


def modules(package: Path) -> dict[str, Path]:
    """Dotted module name -> file. The package itself is ``gradfuzz``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def place(module: str) -> str:
    """The entry of the listing that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def statements(body: list[ast.stmt], at_import: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement with whether it runs on import: not inside functions, not under ``if TYPE_CHECKING``."""
    for node in body:
        yield node, at_import
        runs = at_import and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        guarded = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                for part in value:
                    inner = [part] if isinstance(part, ast.stmt) else getattr(part, "body", [])  # match cases, except handlers
                    if isinstance(inner, list):
                        yield from statements(inner, runs and not (guarded and field == "body"))


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    home = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node, at_import in statements(ast.parse(path.read_text(encoding="utf-8"), str(path)).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_import)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                is_module = full in known or (origin == "gradfuzz" and alias.name in FLOORS)
                yield Import(full if is_module else origin, node.lineno, at_import)


def upward_imports(package: Path) -> list[str]:
    known = modules(package)
    complaints = []
    for module, path in known.items():
        where = path.relative_to(package.parent).as_posix()
        if place(module) not in FLOORS:
            complaints.append(f"{where}: '{place(module)}' has no floor: give it one in LISTING and in the listing of the design")
            continue
        floor = FLOORS[place(module)]
        for found in imports(module, path, known):
            if found.target.split(".")[0] != "gradfuzz":
                continue
            other = FLOORS.get(place(found.target))
            if other is None:
                complaints.append(f"{where}:{found.line}: imports {found.target}, which has no floor")
            elif other > floor:
                complaints.append(f"{where}:{found.line}: floor {floor} imports {found.target} of floor {other}")
    return list(dict.fromkeys(complaints))  # one per line, however many names it imports


def torch_importers(package: Path, places: tuple[str, ...] = TORCH_FREE) -> list[str]:
    """One chain of module-level imports for each module of ``places`` that ends in torch."""
    known = modules(package)
    direct = {module: [i.target for i in imports(module, path, known) if i.at_import] for module, path in known.items()}

    def chain(module: str, seen: set[str]) -> list[str] | None:
        seen.add(module)
        for target in direct[module]:
            parts = target.split(".")
            if parts[0] in TORCH:
                return [module, target]
            # importing a.b.c runs a and a.b first
            for step in (".".join(parts[: n + 1]) for n in range(len(parts))):
                if step in known and step not in seen and (rest := chain(step, seen)):
                    return [module, *rest]
        return None

    chains = (chain(module, set()) for module in known if place(module) in places)
    return [" -> ".join(found) for found in chains if found]


def test_every_import_points_down():
    assert modules(PACKAGE)
    assert upward_imports(PACKAGE) == []


def test_reports_records_and_the_command_line_load_without_torch():
    assert torch_importers(PACKAGE) == []


@pytest.mark.parametrize(
    "program",
    [
        "import gradfuzz",
        "import gradfuzz.cli",
        "import sys\nfrom gradfuzz.cli import main\nsys.argv[1:] = ['--help']\ntry: main()\nexcept SystemExit as end: assert not end.code",
    ],
    ids=["import gradfuzz", "import gradfuzz.cli", "gradfuzz --help"],
)
def test_starting_up_imports_no_torch(program):
    check = "\nimport sys; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", program + check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The checker itself, on made-up packages.


def write(folder: Path, sources: dict[str, str]) -> Path:
    """A package ``gradfuzz`` of the given files."""
    package = folder / "gradfuzz"
    for name, source in {"__init__": "", **sources}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    "source",
    [
        "import gradfuzz.cli",
        "from gradfuzz.cli import main",
        "from gradfuzz import cli",
        "from gradfuzz import run",
        "from .. import cli",
        "from ..cli import main",
        "def late():\n    from gradfuzz.cli import main",
        "class A:\n    def late(self):\n        if self:\n            import gradfuzz.cli",
        "try:\n    pass\nexcept ImportError:\n    import gradfuzz.cli",
        "match 1:\n    case 1:\n        import gradfuzz.cli",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gradfuzz.cli import main",
    ],
)
def test_an_upward_import_is_found_wherever_it_stands(tmp_path, source):
    package = write(tmp_path, {"graph/trace": source, "cli": ""})
    (complaint,) = upward_imports(package)
    assert complaint.startswith(f"gradfuzz/graph/trace.py:{source.count(chr(10)) + 1}: floor 2 imports gradfuzz")
    assert complaint.endswith("floor 9")


def test_imports_downwards_and_on_one_floor_are_fine(tmp_path):
    package = write(
        tmp_path,
        {
            "records": "from gradfuzz.errors import BadInput\nimport torchish",
            "errors": "",
            "detectors/rules": "from gradfuzz.truth import judge\nfrom .base import detector\nfrom gradfuzz import records",
            "truth": "",
            "cli": "import gradfuzz\nfrom gradfuzz import load",
        },
    )
    assert upward_imports(package) == []
    assert torch_importers(package) == []


def test_a_module_without_a_floor_is_found(tmp_path):
    package = write(tmp_path, {"utilities": "", "cli": "from gradfuzz.helpers import x"})
    assert [c.split(":")[0] for c in upward_imports(package)] == ["gradfuzz/cli.py", "gradfuzz/utilities.py"]


def test_torch_is_found_through_other_modules_and_packages(tmp_path):
    package = write(
        tmp_path,
        {
            "report/html": "from gradfuzz.analysis.scores import score",
            "analysis/__init__": "if True:\n    from gradfuzz.truth import judge",
            "analysis/scores": "",
            "truth": "class A:\n    import torch.nn",
        },
    )
    assert torch_importers(package) == [
        "gradfuzz.analysis -> gradfuzz.truth -> torch.nn",
        "gradfuzz.report.html -> gradfuzz.analysis -> gradfuzz.truth -> torch.nn",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        "def late():\n    import torch",
        "class A:\n    async def late(self):\n        import torch",
    ],
)
def test_late_torch_and_types_only_torch_are_fine(tmp_path, source):
    assert torch_importers(write(tmp_path, {"report/html": source})) == []


def test_the_else_of_a_types_only_block_runs(tmp_path):
    source = "import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import torch"
    assert torch_importers(write(tmp_path, {"report/html": source})) == ["gradfuzz.report.html -> torch"]
