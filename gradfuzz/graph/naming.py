"""Names and places that a person recognises: ``layer1_0_conv1``, module ``layer1.0.conv1``, ``torchvision/models/resnet.py:92``."""

from __future__ import annotations

import re
from collections import defaultdict
from keyword import iskeyword
from pathlib import Path

import torch
from torch import fx

from gradfuzz.graph.program import Program

TORCH = f"{Path(torch.__file__).parent}/"
OWN = f"{Path(__file__).parent.parent}/"
FRAME = re.compile(r'File "(.+?)", line (\d+)')


def is_user_frame(filename: str) -> bool:
    """Whether a stack frame is neither torch's nor gradfuzz's own."""
    if filename.startswith(OWN):
        return "/corpora/" in filename
    return not filename.startswith(TORCH) and not filename.startswith("<") and "/concurrent/" not in filename


def frame_location(filename: str, line: int) -> str:
    """``file:line``, relative to site-packages or the current folder, so that it is the same on every machine."""
    path = Path(filename)
    for marker in ("site-packages", "dist-packages"):
        if marker in path.parts:
            return f"{'/'.join(path.parts[path.parts.index(marker) + 1 :])}:{line}"
    if path.is_relative_to(Path.cwd()):
        return f"{path.relative_to(Path.cwd())}:{line}"
    if "corpora" in path.parts:
        return f"{'/'.join(path.parts[path.parts.index('corpora') :])}:{line}"
    return f"{path.name}:{line}"


def source_of(node: fx.Node) -> str:
    """The innermost line of the user's code behind a node, or the empty string."""
    frames = [(name, int(line)) for name, line in FRAME.findall(node.meta.get("stack_trace") or "") if is_user_frame(name)]
    return frame_location(*frames[-1]) if frames else ""


def module_of(node: fx.Node) -> tuple[str, str]:
    """Dotted path and class of the innermost module; ``loss`` for what runs outside the model, ``""`` for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    inside = [(path, str(kind)) for path, kind in stack if path == "model" or path.startswith("model.")]
    if not inside:
        return "loss", ""
    path, kind = inside[-1]
    return re.sub(r"@\d+", "", path).removeprefix("model").removeprefix("."), kind


def readable_names(program: Program) -> dict[str, str]:
    """Old name -> unique new one: the module's path, with the operator's name unless a module of torch.nn does just that one thing."""
    operators: dict[str, set[str]] = defaultdict(set)
    for instruction in program.instructions:
        operators[instruction.module].add(instruction.op)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for instruction in program.instructions:
        path = instruction.module.replace(".", "_")
        alone = instruction.module_class.startswith("torch.nn.") and len(operators[instruction.module]) == 1
        wish = path if alone and path else "_".join(part for part in (path, instruction.op.strip("_")) if part)
        wish = re.sub(r"\W", "_", wish)
        if wish[0].isdigit():
            wish = f"m{wish}"
        if iskeyword(wish):
            wish = f"{wish}_"
        name, count = wish, 0
        while name in taken:
            count += 1
            name = f"{wish}_{count}"
        taken.add(name)
        names[instruction.name] = name
    return names
