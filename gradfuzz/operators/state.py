"""Operators that leave the process or the model in another state: modes, hooks, caches, weights that were put aside."""

from __future__ import annotations

from torch import nn

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.operators.case_sites import item, items, layer, lone_parameter
from gradfuzz.records import Kind, Level, Site


@case_operator(
    "grad-mode-left-off", family="state", level=Level.RUNTIME, loops=("loop", "accumulation"), may="raises",
    example="corpus:mlp::grad-mode-left-off::loop",
)  # fmt: skip
def grad_mode_left_off(draft: CaseDraft, site: Site) -> None:
    """Let a validation that fails leave gradients off for the process."""
    with draft.given():
        draft.insert("fail_in_validation(restore=True)", before="zero_grad", name="validation")
    draft.rewrite("validation", "fail_in_validation(restore=False)")


def mode_matters(traced: TracedCase, site: Site) -> bool:
    """The model is in train mode and has a layer that behaves otherwise in eval mode."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.modules.instancenorm._InstanceNorm)
    return any(module.training and isinstance(module, kinds) for module in traced.case.model.modules())


@case_operator(
    "eval-mode-left-on", family="state", own=True, level=Level.RUNTIME, where=mode_matters, may="altered equivalent dead vanished",
    example="corpus:cnn::eval-mode-left-on::loop",
)  # fmt: skip
def eval_mode_left_on(draft: CaseDraft, site: Site) -> None:
    """Train in the eval mode that a validation left on."""
    draft.after_optimizer("model.eval()")
    draft.changes_function()


def called_layer(traced: TracedCase, site: Site) -> bool:
    """A layer that is called as such, not one that only holds others."""
    return layer(traced, site) and not isinstance(traced.case.model.get_submodule(site.value), (nn.ModuleList, nn.ModuleDict))


@case_operator(
    "recorded-only-in-training", family="state", own=True, level=Level.RUNTIME, on=(Kind.MODULE,), where=called_layer,
    may="dead raises altered equivalent", example="corpus:mlp::recorded-only-in-training::2",
)  # fmt: skip
def recorded_only_in_training(draft: CaseDraft, site: Site) -> None:
    """Record a layer's graph only where the layer is in train mode, and fine-tune in eval mode."""
    with draft.given():
        draft.before_optimizer("model.eval()")
    draft.before_optimizer(f'record_only_in_training(model, "{site.value}")')


def takes_part_with_floats(traced: TracedCase, site: Site) -> bool:
    """A floating tensor of the batch that the model reads."""
    return item(traced, site).is_floating_point() and site.value.startswith("inputs")


@case_operator(
    "inference-tensor-in-batch", family="state", own=True, level=Level.RUNTIME, on=(Kind.INPUT,), where=takes_part_with_floats,
    may="invalid equivalent raises", example="corpus:mlp::inference-tensor-in-batch::inputs_0",
)  # fmt: skip
def inference_tensor_in_batch(draft: CaseDraft, site: Site) -> None:
    """Train on a tensor that was cached in inference mode: autograd may not save it."""
    draft.data(f"batch = change_item(batch, {items(draft.traced)[site.value]}, made_in_inference_mode)")


@case_operator(
    "layer-in-inference-mode", family="state", own=True, level=Level.RUNTIME, on=(Kind.MODULE,), where=called_layer,
    may="invalid raises dead", example="corpus:mlp::layer-in-inference-mode::0",
)  # fmt: skip
def layer_in_inference_mode(draft: CaseDraft, site: Site) -> None:
    """Leave a layer's forward in inference mode."""
    draft.before_optimizer(f'in_inference_mode(model, "{site.value}")')


@case_operator(
    "hook-left-on", family="state", own=True, level=Level.RUNTIME, on=(Kind.PARAMETER,), where=lone_parameter,
    may="altered dead equivalent", example="corpus:mlp::hook-left-on::2.weight",
)  # fmt: skip
def hook_left_on(draft: CaseDraft, site: Site) -> None:
    """Leave a visualiser's hook on a parameter: it lets only positive gradients through."""
    draft.before_optimizer(f'leave_hook(model, "{site.value}")')


@case_operator(
    "weights-put-back-by-reference", family="state", own=True, level=Level.RUNTIME, may="altered dead vanished nonfinite",
    example="corpus:mlp::weights-put-back-by-reference::loop",
)  # fmt: skip
def weights_put_back_by_reference(draft: CaseDraft, site: Site) -> None:
    """Put the weights aside by reference while averaged ones are loaded: putting them back changes nothing."""
    draft.alternative("before", "put_back_after_validation(model, copies=True)", "put_back_after_validation(model, copies=False)")
    draft.changes_function()


@case_operator(
    "anomaly-detection-left-on", family="state", level=Level.RUNTIME, may="equivalent",
    example="corpus:mlp::anomaly-detection-left-on::loop",
)  # fmt: skip
def anomaly_detection_left_on(draft: CaseDraft, site: Site) -> None:
    """Leave anomaly detection on: a control, it is slow and changes no gradient."""
    draft.wrap("forward", "backward", "with torch.autograd.set_detect_anomaly(True):")
