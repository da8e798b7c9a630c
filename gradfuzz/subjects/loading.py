"""Running the user's own code: a file or a module, and the function in it that makes a model.

Whatever goes wrong in it becomes one line that says what, where and what to do; the cause stays chained for ``--debug``. The user's
folder stays on ``sys.path``, as it would under ``python file.py``, since models import lazily.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import random
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from gradfuzz.errors import BadInput, GradfuzzError
from gradfuzz.registry import near_miss

_FOREIGN = (
    *(sysconfig.get_path(key) + os.sep for key in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]) + os.sep,
    "<frozen",
)


def load_file(path: Path) -> ModuleType:
    """Run a Python file afresh, so that what it makes at module level has the seed's bits each time."""
    if not path.is_file():
        near = near_miss(path.name, (other.name for other in path.parent.glob("*.py"))) if path.parent.is_dir() else ""
        raise BadInput(f"there is no file '{path}' (looked from {os.getcwd()}).{near}")
    _put_on_path(path.resolve().parent)
    name = f"gradfuzz_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise BadInput(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(f"'{path}' cannot be imported: {blame(error)}") from error
    return module


def load_module(name: str) -> ModuleType:
    """Import ``package.module``, with the current folder on the path."""
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            where = f"there is no module '{error.name}' in {os.getcwd()} or among the installed packages"
            raise BadInput(f"{where}. Write package.module:function, or path/to/file.py:function") from error
        raise BadInput(f"'{name}' cannot be imported: {blame(error)}") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"'{name}' cannot be imported: {blame(error)}") from error


def blame(error: BaseException) -> str:
    """Type, first line of the message, and the innermost ``file:line`` of the user's own code."""
    text = next(iter(str(error).strip().splitlines()), "").rstrip(".! ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_FOREIGN)]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _maker(module: ModuleType, function: str, name: str) -> Callable[[], Any]:
    """The function or class that is named, known to be callable without arguments."""
    from torch import nn

    found = getattr(module, function, None) if function else None
    if found is None:
        own = [key for key, value in vars(module).items() if inspect.isroutine(value) or inspect.isclass(value)]
        raise BadInput(f"'{name}': it has no function '{function}'.{near_miss(function, own)} Name one that returns a model or a case")
    if isinstance(found, nn.Module) or not callable(found):
        what = f"'{function}' is of type {type(found).__name__}, not a function"
        raise BadInput(f"'{name}': {what}: name a function that makes the model, so that each build starts from the same bits")
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except ValueError:  # written in C
        parameters = []
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        raise BadInput(
            f"'{name}' needs arguments ({', '.join(needed)}): give them defaults, or name a function without arguments that calls it"
        )
    return cast("Callable[[], Any]", found)


def call_maker(name: str, seed: int) -> Any:
    """What the user's function returns, everything but torch seeded here."""
    from gradfuzz.subjects.shim import mend_torchvision

    mend_torchvision()
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    place, _, function = name.rpartition(":")
    module = load_file(Path(place).expanduser()) if place.endswith(".py") else load_module(place)
    make = _maker(module, function, name)
    try:
        return make()
    except GradfuzzError as error:
        raise BadInput(f"'{name}': {error}") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"'{name}' raised {blame(error)}") from error
