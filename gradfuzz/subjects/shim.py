"""Makes torchvision importable beside a torch of another build.

A CUDA build of torchvision beside a CPU build of torch (what a plain ``pip install`` often leaves) cannot load its compiled operators,
and ``import torchvision`` then raises ``operator torchvision::nms does not exist``; timm and transformers fail behind it, obscurely.
Two operator *schemas* are all that the import wants: every classification model runs without the compiled code (detection models do not).
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_registered: list[torch.library.Library] = []  # the schemas live as long as this object


def mend_torchvision() -> bool:
    """Call before importing torchvision, timm or transformers. True when the schemas had to be registered by this or an earlier call.

    Where the compiled operators load, they are left alone: a schema registered before them would make torchvision's own registration fail.
    """
    spec = None if _registered or "torchvision" in sys.modules else find_spec("torchvision")
    if spec is None or spec.origin is None or _operators_load(Path(spec.origin).parent):
        return bool(_registered)
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)
    _registered.append(library)
    return True


def _operators_load(folder: Path) -> bool:
    """Whether the compiled operators are there, asked as torchvision does: loading its extension registers them (twice does no harm)."""
    for extension in (path for path in folder.glob("_C*") if path.suffix in (".so", ".pyd", ".dylib")):
        try:
            torch.ops.load_library(str(extension))
        except (ImportError, OSError):
            continue
    return hasattr(torch.ops.torchvision, "nms")
