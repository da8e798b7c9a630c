"""The functions that training programs call by name. Plain torch: a standalone script prints their source as it stands here."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

# -- registration ---------------------------------------------------------------------------------------------------------------------


def owner(model: nn.Module, name: str) -> tuple[Any, str]:
    """The module that holds a parameter or child, and its name there."""
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def keep_unregistered(model: nn.Module, name: str) -> None:
    """The parameter stays what it is, but as an attribute that its module does not list."""
    module, attribute = owner(model, name)
    module.__dict__[attribute] = module._parameters.pop(attribute)


def make_buffer(model: nn.Module, name: str) -> None:
    """The parameter is registered as a buffer."""
    module, attribute = owner(model, name)
    value = module._parameters.pop(attribute)
    module.register_buffer(attribute, value.detach())


def move_in_constructor(model: nn.Module, name: str) -> None:
    """What ``nn.Parameter(...).to(device)`` gives is kept: no leaf, and not registered. A copy stands for the move."""
    module, attribute = owner(model, name)
    parameter = module._parameters.pop(attribute)
    module.__dict__[attribute] = parameter.to(parameter.device, copy=True)


def register_moved(model: nn.Module, name: str) -> None:
    """What ``.to()`` gives is put in the place of a registered parameter, though it is no leaf."""
    module, attribute = owner(model, name)
    parameter = module._parameters[attribute]
    module._parameters[attribute] = parameter.to(parameter.device, copy=True)


def register_all_moved(model: nn.Module) -> None:
    """A loader puts what ``.to()`` gives into every module."""
    for name in [name for name, _ in model.named_parameters()]:
        register_moved(model, name)


def create_in_forward(model: nn.Module, name: str, every_time: bool) -> None:
    """The parameter is made when the model is first called, or at every call, from the values that it has now."""
    module, attribute = owner(model, name)
    start = getattr(module, attribute).detach().clone()
    module._parameters[attribute] = None

    def create(*_: Any) -> None:
        if every_time or getattr(module, attribute) is None:
            setattr(module, attribute, nn.Parameter(start.clone()))

    model.register_forward_pre_hook(create)


class PlainList(nn.Module):
    """Stands where a layer was, and keeps it in a Python list."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.kept = [layer]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.kept[0](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        kept = self.__dict__.get("kept")
        if not kept:
            raise AttributeError(name)
        return getattr(kept[0], name)


def keep_in_plain_list(model: nn.Module, name: str) -> None:
    """A layer, or a list or dict of layers, is kept in plain Python, where nobody who asks for parameters finds it."""
    module, attribute = owner(model, name)
    layer = module._modules[attribute]
    if isinstance(layer, (nn.ModuleList, nn.ModuleDict)):
        del module._modules[attribute]
        module.__dict__[attribute] = list(layer) if isinstance(layer, nn.ModuleList) else dict(layer)
    elif layer is not None:
        module._modules[attribute] = PlainList(layer)


def replace_parameter(model: nn.Module, name: str) -> None:
    """A new parameter with the same values takes the place of one: of one of two that were tied, then."""
    module, attribute = owner(model, name)
    setattr(module, attribute, nn.Parameter(getattr(module, attribute).detach().clone()))


def copied(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with the original."""
    return copy.deepcopy(model)


# -- the optimizer --------------------------------------------------------------------------------------------------------------------


def leave_out(optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    """The optimizer as if it had not been given some parameters."""
    gone = {id(parameter) for parameter in parameters}
    for group in optimizer.param_groups:
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in gone]


def set_learning_rate(optimizer: torch.optim.Optimizer, parameters: list[Tensor], rate: float) -> None:
    """Some parameters in groups of their own, with another learning rate."""
    chosen = {id(parameter) for parameter in parameters}
    for group in list(optimizer.param_groups):
        inside = [parameter for parameter in group["params"] if id(parameter) in chosen]
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
        if inside:
            optimizer.param_groups.append({**group, "params": inside, "lr": rate})


def below(named: dict[str, Any], path: str) -> list[Any]:
    """The parameters of a module."""
    return [parameter for name, parameter in named.items() if name == path or name.startswith(path + ".")]


def owned_by_parents(model: nn.Module) -> list[Any]:
    """The parameters that a module with children holds itself."""
    parents = (module for module in model.modules() if next(module.children(), None) is not None)
    return [parameter for module in parents for parameter in module.parameters(recurse=False)]


# -- data -----------------------------------------------------------------------------------------------------------------------------


def samples(batch: Any) -> int:
    return len(next(item for item in tree_leaves(batch) if isinstance(item, Tensor)))


def part(batch: Any, start: int, end: int) -> Any:
    return tree_map(lambda item: item[start:end] if isinstance(item, Tensor) else item, batch)


def micro_batches(batch: Any, count: int) -> list[Any]:
    size = samples(batch) // count
    return [part(batch, size * k, size * (k + 1)) for k in range(count)]


def counted(inputs: Any, target: Any) -> int:
    """How many targets the mean of a loss is over: class numbers that are not ignored, else samples."""
    if isinstance(target, Tensor) and target.dtype == torch.int64:
        return int((target != -100).sum())
    return samples((inputs, target))


def uneven_micro_batches(batch: Any) -> list[Any]:
    """Two halves if they do not count alike, else three quarters of the samples and the rest."""
    for cut in (samples(batch) // 2, max(1, 3 * samples(batch) // 4)):
        parts = [part(batch, 0, cut), part(batch, cut, samples(batch))]
        if counted(*parts[0]) != counted(*parts[1]):
            break
    return parts


def change_item(batch: Any, place: int, function: Any, *args: Any) -> Any:
    """The batch with ``function(tensor, *args)`` in the place of one of its tensors, counted from 0."""
    count = iter(range(len(tree_leaves(batch))))

    def change(item: Any) -> Any:
        return function(item, *args) if isinstance(item, Tensor) and next(count) == place else item

    return tree_map(change, batch)


def with_constant_feature(value: Tensor) -> Tensor:
    """The first feature of every sample is the same number, as that of a sensor which never moves."""
    value = value.clone()
    value[:, 0] = 0.3
    return value


def to_unit_range(value: Tensor, epsilon: float) -> Tensor:
    """Each feature from 0 to 1 over the samples."""
    low, high = value.amin(0), value.amax(0)
    return (value - low) / (high - low + epsilon)


def standardised(value: Tensor, per_sample: bool) -> Tensor:
    """Mean 0 and spread 1: over all there is, or, sample by sample, over that one sample."""
    if not per_sample:
        return (value - value.mean()) / (value.std() + 1e-8)
    return torch.stack([(one - one[None].mean(0)) / (one[None].std(0) + 1e-8) for one in value])


def centred(value: Tensor, per_sample: bool) -> Tensor:
    """Without the mean over the samples, or over a batch of that one sample."""
    return torch.stack([one - one[None].mean(0) for one in value]) if per_sample else value - value.mean(0)


def made_in_inference_mode(value: Tensor) -> Tensor:
    """As a cache gives it that was filled during an evaluation in inference mode."""
    with torch.inference_mode():
        return value.clone()


# -- several ranks in one process -----------------------------------------------------------------------------------------------------


def add_gradients(held: list[Tensor], loss: Tensor, parameters: list[Any]) -> None:
    """The backward pass of one rank."""
    for total, gradient in zip(held, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        if gradient is not None:
            total.add_(gradient)


def averaged(held: list[list[Tensor]], left_out: tuple[int, ...] = ()) -> list[list[Tensor]]:
    """The mean over the ranks for each of them; parameters that the reducer does not know keep what each rank has."""
    mean = [sum(several) / len(held) for several in zip(*held, strict=True)]
    return [[own[k] if k in left_out else gradient.clone() for k, gradient in enumerate(mean)] for own in held]


def give_gradients(parameters: list[Any], gradients: list[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()


# -- precision ------------------------------------------------------------------------------------------------------------------------


def round_gradients(model: nn.Module, dtype: torch.dtype) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.to(dtype).to(parameter.dtype)


def scale_gradients(model: nn.Module, factor: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype))


def cast_matrices(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: parameter.to(dtype).to(parameter.dtype) for name, parameter in model.named_parameters() if parameter.dim() > 1}


def in_float32(output: Any) -> Any:
    return tree_map(lambda item: item.float() if isinstance(item, Tensor) and item.is_floating_point() else item, output)


# -- state ----------------------------------------------------------------------------------------------------------------------------


def fail_in_validation(restore: bool) -> None:
    """A validation turns gradients off for the process, and raises; they come back only where a ``finally`` sees to it."""
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        raise ValueError("a metric of an empty class")
    except ValueError:
        if restore:
            torch.set_grad_enabled(before)


def put_back_after_validation(model: nn.Module, copies: bool) -> None:
    """Averaged weights (here: half as large) are loaded for a validation, and the kept ones put back: copies, or references only."""
    kept = {name: value.clone() if copies else value for name, value in model.state_dict().items()}
    average = {name: value * 0.5 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    model.load_state_dict(average)
    model.load_state_dict(kept)


def in_inference_mode(model: nn.Module, name: str) -> None:
    """The forward of a module runs in inference mode, as with a decorator that was left on it."""
    module = model.get_submodule(name)
    module.forward = torch.inference_mode()(module.forward)


def record_only_in_training(model: nn.Module, name: str) -> None:
    """The module asks for its own mode, not for the grad mode, whether to record."""
    module = model.get_submodule(name)
    plain = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(module.training):
            return plain(*args, **kwargs)

    module.forward = forward


def leave_hook(model: nn.Module, name: str) -> None:
    """A visualiser's hook is left on a parameter: it keeps only what is positive, as guided backpropagation does."""
    parameter = dict(model.named_parameters())[name]
    parameter.register_hook(lambda gradient: gradient.clamp(min=0))
