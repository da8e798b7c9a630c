"""The global state that a detector could leave changed, one entry each: how to read it and how to put it back."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Setting:
    """Some global state: how to read it and how to put it back. What is read is a copy.

    late: no verdict depends on it and reading it takes long, so that it is put back at the end only, not between two detectors.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    late: bool = False


@cache
def settings() -> tuple[Setting, ...]:
    """In the order in which they are put back: modes first, since what comes later calls torch."""
    return (*_modes(), *_torch_flags(), *_hooks(), *_process())


def _modes() -> list[Setting]:
    import torch
    import torch.utils._device as device
    from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode
    from torch.utils import _python_dispatch as dispatch

    autograd: Any = torch._C._autograd

    def put_back(stack: Callable[[], list[Any]], pop: Callable[[], Any], push: Callable[[Any], Any]) -> Callable[[list[Any]], None]:
        def write(wanted: list[Any]) -> None:
            while stack():
                pop()
            for mode in wanted:
                push(mode)

        return write

    def dispatch_stack() -> list[Any]:
        return list(dispatch._get_current_dispatch_mode_stack())

    def saved_hooks() -> Any:
        return autograd._top_saved_tensors_default_hooks(True)

    def write_saved_hooks(wanted: Any) -> None:
        while saved_hooks() not in (wanted, None):
            autograd._pop_saved_tensors_default_hooks()
        if wanted is not None and saved_hooks() is None:
            autograd._push_saved_tensors_default_hooks(*wanted)

    def write_device(wanted: Any) -> None:
        torch.set_default_device(None)  # takes its mode off the stack
        if wanted is not None:
            torch.set_default_device(wanted.device)

    def saved_hooks_refused() -> Any:
        return autograd._saved_tensors_hooks_get_disabled_error_message()

    def write_saved_hooks_refused(message: Any) -> None:
        autograd._saved_tensors_hooks_enable() if message is None else autograd._saved_tensors_hooks_disable(message)

    contexts: Any = torch._GLOBAL_DEVICE_CONTEXT
    functions = _get_current_function_mode_stack
    return [
        Setting("default device", lambda: getattr(contexts, "device_context", None), write_device),
        Setting("current device", lambda: device.CURRENT_DEVICE, lambda value: setattr(device, "CURRENT_DEVICE", value)),
        Setting("torch function modes", functions, put_back(functions, _pop_mode, _push_mode)),
        Setting("torch dispatch modes", dispatch_stack, put_back(dispatch_stack, dispatch._pop_mode, dispatch._push_mode)),
        Setting("saved tensor hooks", saved_hooks, write_saved_hooks),
        Setting("refusal of saved tensor hooks", saved_hooks_refused, write_saved_hooks_refused),
    ]


def _torch_flags() -> list[Setting]:
    import torch

    cudnn: Any = torch.backends.cudnn

    def autocast(device: str) -> Setting:
        def write(value: tuple[bool, Any]) -> None:
            torch.set_autocast_enabled(device, value[0])
            torch.set_autocast_dtype(device, value[1])
            torch.clear_autocast_cache()

        return Setting(f"autocast on {device}", lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)), write)

    def deterministic() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def write_cudnn(values: tuple[bool, ...]) -> None:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = values

    return [
        Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("deterministic algorithms", deterministic, lambda v: torch.use_deterministic_algorithms(v[0], warn_only=v[1])),
        Setting(
            "anomaly mode",
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda value: torch.set_anomaly_enabled(*value),
        ),
        Setting("warn always", torch.is_warn_always_enabled, torch.set_warn_always),
        autocast("cpu"),
        autocast("cuda"),
        Setting("autocast cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
        Setting("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Setting("cudnn flags", lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic), write_cudnn),
        Setting("threads", torch.get_num_threads, torch.set_num_threads),
    ]


def _hooks() -> list[Setting]:
    import torch.nn.modules.module as modules
    import torch.optim.optimizer as optimizers

    flag = "_global_is_full_backward_hook"
    found = [(module, name) for module in (modules, optimizers) for name in vars(module) if name.startswith("_global_") and name != flag]
    hooks = [_mapping(name.removeprefix("_").replace("_", " "), getattr(module, name)) for module, name in found]
    return [*hooks, Setting("kind of global backward hooks", lambda: getattr(modules, flag), lambda value: setattr(modules, flag, value))]


def _mapping(name: str, mapping: MutableMapping[Any, Any]) -> Setting:
    """A mapping that others hold on to: it keeps its identity."""

    def write(value: dict[Any, Any]) -> None:
        for key in set(mapping) - set(value):
            del mapping[key]
        mapping.update(value)

    return Setting(name, lambda: dict(mapping), write)


def _process() -> list[Setting]:
    import numpy as np

    def write_path(value: list[str]) -> None:
        sys.path[:] = value

    return [
        Setting("working directory", os.getcwd, os.chdir),
        _mapping("environment", getattr(os, "environb", os.environ)),
        Setting("module search path", lambda: list(sys.path), write_path),
        Setting("logging", _loggers, _write_loggers, late=True),
        Setting("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        Setting("numpy errors", np.geterr, lambda value: np.seterr(**value)),
    ]


Logging = tuple[int, dict[logging.Logger, tuple[Any, ...]]]


def _loggers() -> Logging:
    """The global switch, and of every logger: level, handlers, whether it hands on, whether it is off."""
    known = [logging.root, *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    return logging.root.manager.disable, {one: (one.level, (*one.handlers,), one.propagate, one.disabled) for one in known}


def _write_loggers(before: Logging) -> None:
    logging.disable(before[0])
    for one, (level, handlers, propagate, disabled) in before[1].items():
        one.setLevel(level)
        one.handlers[:] = handlers
        one.propagate, one.disabled = propagate, disabled
