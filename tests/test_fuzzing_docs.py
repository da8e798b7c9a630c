"""docs/fuzzing.md: its example runs, finds what it should, and its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gradfuzz.fuzzing import strategies, targets

PAGE = (Path(__file__).parent.parent / "docs" / "fuzzing.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def pytest_on(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "test_my_checker.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:pytest_torch", "-p", "no:cacheprovider", "test_my_checker.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_example_of_the_page_passes_and_fails_for_a_checker_that_sees_nothing(tmp_path: Path) -> None:
    done = pytest_on(EXAMPLE, tmp_path)
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout
    blind = re.sub(r"return \[name for .*", "return []", EXAMPLE)
    assert blind != EXAMPLE
    blind = blind.replace("HealthCheck,", "HealthCheck, Phase,").replace("deadline=None,", "deadline=None, phases=(Phase.generate,),")
    done = pytest_on(blind, tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout


def test_the_tables_of_the_page_name_every_strategy_and_every_target() -> None:
    assert set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) <= set(dir(strategies))
    named = set(re.findall(r"^\| `([\w:-]+)` \|", PAGE, re.MULTILINE))
    assert named == set(targets.NAMES)
