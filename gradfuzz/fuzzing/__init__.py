"""Random trainable architectures, and a differential search over them: ``gradfuzz fuzz``.

``strategies`` is for tests of one's own.
"""

from __future__ import annotations

from gradfuzz.fuzzing import strategies
from gradfuzz.fuzzing.architecture import Architecture, Head, Layer

__all__ = ["Architecture", "Head", "Layer", "strategies"]
