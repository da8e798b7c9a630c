"""What makes a campaign this one, and each row of it this row: compared before anything in a folder is continued."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.campaign.settings import CONTROL, Settings
from gradfuzz.subjects import Subject

if TYPE_CHECKING:
    from gradfuzz.detectors import Detector
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators import Operator

CHANGEABLE = ("seed", "source", "versions")
"""What may differ when a campaign is resumed: its rows are then stale, and are measured again. Anything else makes another campaign."""
_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple(Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib"))
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def describe(settings: Settings, subject: Subject) -> dict[str, Any]:
    """The settings and versions, as the manifest keeps them. Needs neither torch nor a trace."""
    found = asdict(settings)
    del found["verify"], found["activation_memory"]  # these change what it costs, not what it finds
    found["model"] = subject.name
    found["input_shape"] = "x".join(map(str, settings.input_shape)) if settings.input_shape else None
    found["shard"] = "/".join(map(str, settings.shard)) if settings.shard else None
    for name in ("operators", "detectors", "plugins"):
        found[name] = sorted(found[name]) if found[name] is not None else None
    found["source"] = source_hash(subject)
    found["versions"] = {package: version(package) for package in ("gradfuzz", "torch", "torchvision", "numpy")}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def source_hash(subject: Subject) -> str:
    """Hash of the file that a subject comes from, or "" where a package's version says enough."""
    path = _source_file(subject)
    return file_hash(path) if path else ""


def _source_file(subject: Subject) -> Path | None:
    from gradfuzz.subjects import bugs
    from gradfuzz.subjects.corpus import architecture_file

    if subject.provider.name == "file":
        return Path(subject.target.rpartition(":")[0]).expanduser()
    if subject.provider.name == "corpus":
        folder, _, name = subject.target.partition("/")
        return bugs.files(folder).get(name) if folder in bugs.FOLDERS else architecture_file(subject.target)
    return None


def file_hash(path: Path) -> str:
    """Of its bytes, or "" where there is no such file."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest() if path.is_file() else ""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """By name, what differs between two identities or two sets of parts, in words."""
    found = {}
    for key in [*new, *(key for key in old if key not in new)]:
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key == "versions" and isinstance(before, dict) and isinstance(after, dict):
            changed = [name for name in after if before.get(name) != after[name]]
            found[key] = ", ".join(f"{name} {before.get(name)} there, {after[name]} here" for name in changed) or "versions differ"
        else:
            found[key] = f"{key} {before!r} there, {after!r} here"
    return found


# --- what rows are made of


def parts(
    settings: Settings, subject: Subject, traced: TracedCase, operators: Iterable[Operator], judges: Iterable[Detector]
) -> dict[str, Any]:
    """Everything that decides what a row says, each under the name by which a user is told that it changed."""
    own = "".join(own_modules(subject).values())
    return {
        "model": fingerprint(traced) + (f"-{own}" if own else ""),
        "seed": settings.seed,
        "versions": {package: version(package) for package in ("gradfuzz", "torch", "torchvision", "numpy")},
        **{f"operator {one.name}": module_hash(one.apply) for one in operators},
        **{f"detector {one.name}": module_hash(one.function) for one in judges},
    }


def keys(found: Mapping[str, Any]) -> dict[str, str]:
    """Operator to the key of its rows: equal keys, equal rows. A changed detector makes every row stale, since each asks it."""
    common = {name: part for name, part in found.items() if not name.startswith("operator ")}
    named = {CONTROL: "", **{name.removeprefix("operator "): part for name, part in found.items() if name.startswith("operator ")}}
    return {operator: _digest({**common, "operator": part}) for operator, part in named.items()}


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def fingerprint(traced: TracedCase) -> str:
    """Hash of the traced program and of every bit that it starts from: weights, buffers, batch."""
    import torch

    found = hashlib.blake2b(digest_size=16)
    for one in traced.program.instructions:
        target = getattr(one.target, "__qualname__", None) or str(one.target)
        text = f"{one.name}={target}{one.args}{dict(one.kwargs)}{one.grad}{one.stop}{one.module}{one.module_class}{one.source}\n"
        found.update(_ADDRESS.sub("", text).encode())
    for name, tensor in sorted(traced.leaves.items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.requires_grad}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    found.update(f"{traced.live} {sorted(traced.left_out.items())} {sorted(traced.case.intended.items())} {traced.thresholds}".encode())
    return found.hexdigest()


def module_hash(function: Any) -> str:
    """Hash of the file that a function is written in: too coarse rather than too fine, since it may use whatever stands beside it."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # a callable object
        path = inspect.getsourcefile(type(function))
    return file_hash(Path(path)) if path else ""


def sources(subject: Subject, operators: Iterable[Operator], judges: Iterable[Detector], plugins: Iterable[str]) -> dict[str, str]:
    """Files whose change makes rows stale, with their hashes: of operators, detectors and plugins, and the user's own modules."""
    functions = [*(one.apply for one in operators), *(one.function for one in judges)]
    paths = {Path(path) for function in functions if (path := getattr(getattr(function, "__code__", None), "co_filename", ""))}
    for plugin in plugins:
        file = plugin if plugin.endswith(".py") else getattr(sys.modules.get(plugin), "__file__", None)
        paths |= {Path(file)} if file else set()
    return own_modules(subject) | {_written(path): file_hash(path) for path in sorted(paths) if path.is_file()}


def own_modules(subject: Subject) -> dict[str, str]:
    """What the user's model imported from the folder that it lies in, itself included, with the hashes."""
    if subject.provider.name not in ("file", "import"):
        return {}
    file = _source_file(subject)
    home = file.resolve().parent if file else Path.cwd()
    loaded = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in ("__main__", "__mp_main__")]
    paths = {Path(path).resolve() for path in loaded if path and path.endswith(".py")}
    own = (
        path for path in paths if path.is_relative_to(home) and not any(path.is_relative_to(folder) for folder in (*_INSTALLED, _PACKAGE))
    )
    return {str(path): file_hash(path) for path in sorted(own)}


def _written(path: Path) -> str:
    """Files of gradfuzz relative to it, so that a folder can be read where gradfuzz lies elsewhere."""
    path = path.resolve()
    return f"gradfuzz/{path.relative_to(_PACKAGE).as_posix()}" if path.is_relative_to(_PACKAGE) else str(path)


def changed_sources(recorded: Mapping[str, str]) -> list[str]:
    """Files that are here and differ from what was recorded. One that is not here cannot have changed anything."""
    here = {name: file_hash(_PACKAGE.parent / name if name.startswith("gradfuzz/") else Path(name)) for name in recorded}
    return [name for name, digest in recorded.items() if here[name] not in ("", digest)]


# --- what was learnt of a subject


def about(traced: TracedCase, possible: Mapping[str, int]) -> dict[str, Any]:
    """What was learnt of the subject before the first mutant. possible: by operator, how many mutants it could make."""
    return {
        "inputs": {
            name.removeprefix("input:"): f"{tuple(traced.leaves[name].shape)} {traced.leaves[name].dtype}" for name in traced.inputs
        },
        "instructions": len(traced.program.instructions),
        "loss": traced.reference.loss,
        "live_parameters": len(traced.live),
        "live_numel": sum(traced.leaves[f"parameter:{name}"].numel() for name in traced.live),
        "left_out": traced.left_out,
        "intended": dict(traced.case.intended),
        "possible": 1 + sum(possible.values()),
        "possible_by_operator": dict(possible),
    }


def hardware(device: str) -> dict[str, Any]:
    import os
    import platform

    import torch

    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": sys.version.split()[0],
        "system": platform.system(),
    }
