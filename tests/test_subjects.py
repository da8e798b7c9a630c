"""Where correct cases come from: every provider, the shim beside torchvision, and every bad input in one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradfuzz.errors import BadInput
from gradfuzz.subjects import corpus, resolve, shim
from gradfuzz.subjects.case import Case, Objective
from gradfuzz.subjects.torchvision import NAMES, input_shape

ROOT = Path(__file__).resolve().parent.parent
CORPUS = sorted(corpus.summaries())
QUICK = ["googlenet", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_32"]
NET = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\nfrom gradfuzz.subjects.case import Case\n"


def gradients(module: torch.nn.Module, case: Case) -> list[torch.Tensor | None]:
    """Of one backward from a fixed seed, leaving buffers and ``.grad`` as they were."""
    kept = [buffer.clone() for buffer in case.model.buffers()]
    torch.manual_seed(7)
    loss = module(*case.batch)
    assert loss.isfinite()
    found = torch.autograd.grad(loss, [p for p in case.model.parameters() if p.requires_grad], allow_unused=True)
    for buffer, value in zip(case.model.buffers(), kept, strict=True):
        buffer.copy_(value)
    return list(found)


def tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, dict):
        value = tuple(value.values())
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in tensors(part)] if isinstance(value, tuple) else []


def same_bits(first: Case, second: Case) -> bool:
    left, right = first.model.state_dict(), second.model.state_dict()
    pairs = zip(tensors(first.batch), tensors(second.batch), strict=True)
    return list(left) == list(right) and all(torch.equal(left[k], right[k]) for k in left) and all(torch.equal(a, b) for a, b in pairs)


# --- torchvision


def test_the_static_list_is_that_of_torchvision() -> None:
    shim.mend_torchvision()
    import torchvision

    assert list(NAMES) == torchvision.models.list_models(module=torchvision.models)


@pytest.mark.parametrize("name", QUICK)
def test_a_torchvision_model_trains_nearly_all_of_its_parameters_on_the_first_step(name: str) -> None:
    case = resolve(name).build(0)
    found = gradients(Objective(case), case)
    assert sum(g is not None and bool(g.any()) and bool(g.isfinite().all()) for g in found) > 0.9 * len(found)


def test_a_torchvision_model_has_the_same_bits_for_one_seed_and_others_for_another() -> None:
    build = resolve("torchvision:squeezenet1_1").build
    assert same_bits(build(3), build(3))
    assert not same_bits(build(3), build(4))


def test_auxiliary_heads_are_trained_on_the_labels_of_the_main_one() -> None:
    _, target = resolve("googlenet").build(0).batch
    assert len(target) == 3
    assert all(torch.equal(target[0], labels) for labels in target)


def test_the_user_may_ask_for_other_images() -> None:
    images, labels = tensors(resolve("vit_b_32", (3, 3, 96, 96)).build(0).batch)
    assert (images.shape, labels.shape) == ((3, 3, 96, 96), (3,))
    assert input_shape("resnet18") == (2, 3, 64, 64)


@pytest.mark.parametrize(("name", "shape"), [("vit_b_32", (2, 3, 65, 65)), ("resnet18", (2, 5, 64, 64)), ("maxvit_t", (2, 3, 64, 64))])
def test_images_that_a_model_does_not_take_are_named(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=f"{name}.*{shape[-1]}"):
        resolve(name, shape).build(0)


def test_listing_names_and_summaries_imports_no_torch() -> None:
    code = "import sys; from gradfuzz.subjects import providers, corpus; [list(p.names()) for p in providers.values()]; corpus.summaries()"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True, cwd=ROOT)


# --- the shim


def test_the_shim_leaves_working_operators_alone() -> None:
    code = (
        "import torch; theirs = torch.library.Library('torchvision', 'DEF'); theirs.define('nms(Tensor a, Tensor b, float c) -> Tensor')\n"
        "from gradfuzz.subjects import shim; assert not shim.mend_torchvision() and shim._registered == []"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_shim_lets_torchvision_import_and_may_be_called_twice() -> None:
    code = "from gradfuzz.subjects.shim import mend_torchvision as mend; first = mend(); assert mend() is first"
    code += "; import torchvision; assert mend() is first"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# --- the corpus


@pytest.mark.parametrize("name", CORPUS)
def test_a_corpus_case_has_the_same_bits_for_one_seed_and_a_summary(name: str) -> None:
    build = resolve(f"corpus:{name}").build
    assert same_bits(build(5), build(5))
    assert not same_bits(build(5), build(6))
    assert corpus.summaries()[name]


@pytest.mark.parametrize("name", CORPUS)
def test_a_corpus_case_has_equal_gradients_eager_and_exported(name: str) -> None:
    case = resolve(f"corpus:{name}").build(0)
    objective = Objective(case)
    exported = torch.export.export(objective, case.batch, strict=False).module()
    for eager, traced in zip(gradients(objective, case), gradients(exported, case), strict=True):
        assert eager is not None
        assert traced is not None
        assert torch.allclose(eager, traced, rtol=1e-5, atol=1e-7)


def test_the_corpus_declares_its_intended_stops() -> None:
    declared = {name: set(resolve(f"corpus:{name}").build(0).intended) for name in CORPUS}
    stops = {"siamese": {"encoder"}, "quantiser": {"encoder"}, "frozen-backbone": {"backbone"}, "lora": {"0.base", "2.base"}}
    assert {name: found for name, found in declared.items() if found} == stops


def test_a_missing_corpora_folder_is_named_with_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_PACKAGE", tmp_path / "gradfuzz")
    with pytest.raises(BadInput, match=r"neither in .*gradfuzz/corpora nor in .*corpora"):
        corpus.corpora_folder()
    (tmp_path / "corpora" / "architectures").mkdir(parents=True)
    assert corpus.corpora_folder() == tmp_path / "corpora"
    (tmp_path / "gradfuzz" / "corpora" / "architectures").mkdir(parents=True)
    assert corpus.corpora_folder() == tmp_path / "gradfuzz" / "corpora"


@pytest.mark.parametrize(("name", "hint"), [("resnet81", "resnet18"), ("corpus:lsmt", "lstm"), ("torchvision:vgg_11", "vgg11")])
def test_a_misspelt_name_gets_a_near_miss(name: str, hint: str) -> None:
    with pytest.raises(BadInput, match=f"Did you mean.*'{hint}'"):
        resolve(name)


def test_a_corpus_case_refuses_an_input_shape() -> None:
    with pytest.raises(BadInput, match="leave out --input"):
        resolve("corpus:mlp", (2, 3)).build(0)


# --- the user's own: what is accepted

GOOD = {
    "a case": "return Case(nn.Linear(3, 2), (torch.randn(4, 3), torch.randn(4, 2)), F.mse_loss)",
    "model and tensor": "return nn.Linear(3, 2), torch.randn(4, 3)",
    "model and tuple": "return nn.Bilinear(3, 3, 2), (torch.randn(4, 3), torch.randn(4, 3))",
    "model and dict": "return nn.Linear(3, 2), {'input': torch.randn(4, 3)}",
    "BatchNorm and dropout": "return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout()), torch.randn(4, 3)",
    "functional loss": "return nn.Linear(3, 2), (torch.randn(4, 3), torch.tensor([0, 1, 1, 0])), F.cross_entropy",
    "module loss": "return nn.Linear(3, 2), (torch.randn(4, 3), torch.randn(4, 2)), nn.MSELoss()",
    "loss in C": "return nn.Linear(3, 2), (torch.randn(4, 3), torch.ones(4)), lambda *a: F.soft_margin_loss(a[0][:, 0], a[1])",
    "loss of the output alone": "return nn.Linear(3, 2), torch.randn(4, 3), lambda output: output.square().mean()",
    "pair and loss of the output": "return nn.Bilinear(3, 3, 2), (torch.randn(4, 3), torch.randn(4, 3)), lambda o: o.square().mean()",
    "a case with a lone input": "return Case(nn.Linear(3, 2), (torch.randn(1, 3), torch.randn(1, 2)), F.mse_loss)",
}


def write(folder: Path, body: str, name: str = "mine.py") -> str:
    (folder / name).write_text(f"{NET}def make():\n    {body}\n")
    return f"{folder / name}:make"


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
def test_what_a_users_function_returns_becomes_a_fresh_case(body: str, tmp_path: Path) -> None:
    subject = resolve(write(tmp_path, body))
    case = subject.build(0)
    assert all(g is not None and g.any() for g in gradients(Objective(case), case))
    assert all(buffer.sum() in (0, 4) for buffer in case.model.buffers())  # the probe left the statistics of BatchNorm alone
    assert same_bits(case, subject.build(0))


def test_a_bare_model_or_its_class_takes_random_input_of_the_given_shape(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(f"{NET}class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(3, 2)\n")
    case = resolve(f"{tmp_path / 'bare.py'}:Net", (4, 3)).build(0)
    assert tensors(case.batch[0])[0].shape == (4, 3)
    assert case.batch[1].shape == (4,)


def test_the_probe_leaves_the_random_generator_alone(tmp_path: Path) -> None:
    named = write(tmp_path, "return nn.Sequential(nn.Linear(3, 1), nn.Dropout()), torch.randn(4, 3)")
    case = resolve(named).build(0)
    torch.manual_seed(0)
    torch.nn.Linear(3, 1), torch.randn(4, 3)
    assert torch.equal(case.batch[1], torch.randn(4, 1))


def test_a_module_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "return nn.Linear(3, 2), torch.randn(4, 3)", "my_unlikely_module.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert resolve("my_unlikely_module:make").build(0).trainable == ("weight", "bias")
    with pytest.raises(BadInput, match=r"no function 'mkae'.*Did you mean 'make'"):
        resolve("my_unlikely_module:mkae").build(0)


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "my_neighbour.py").write_text("WIDTH = 3\n")
    named = write(tmp_path, "import my_neighbour\n    return nn.Linear(my_neighbour.WIDTH, 2), torch.randn(4, 3)")
    assert resolve(named).build(0).trainable


# --- the user's own: every bad input, one clear line

BAD = {
    "raises": ("return 1 / 0", r"mine.py:make' raised ZeroDivisionError: .*mine.py:6"),
    "exits": ("raise SystemExit(3)", r"raised SystemExit: 3 .*mine.py:6"),
    "returns None": ("return None", r"returned None: return a gradfuzz Case, \(model, batch\)"),
    "returns text": ("return 'resnet'", r"returned a str: return a gradfuzz Case"),
    "four things": ("return nn.Linear(3, 2), 1, 2, 3", r"returned a tuple of \(a Linear, an int, an int, an int\)"),
    "order swapped": ("return torch.randn(4, 3), nn.Linear(3, 2)", r"returned a tuple of \(a float32 tensor of 4x3, a Linear\)"),
    "no parameters": ("return nn.ReLU(), torch.randn(4, 3)", r"the ReLU has no parameters"),
    "case without parameters": (
        "return Case(nn.ReLU(), (torch.randn(4, 3), None), F.mse_loss)",
        r"mine.py:make': the model has no parameters",
    ),
    "all frozen": ("return nn.Linear(3, 2).requires_grad_(False), torch.randn(4, 3)", r"only frozen parameters"),
    "bare": ("return nn.Linear(3, 2)", r"returned a bare Linear: give its input's shape, as in --input"),
    "forward": ("return nn.Linear(3, 2), torch.randn(4, 5)", r"forward raised on a float32 tensor of 4x5: RuntimeError: mat1 and mat2"),
    "pair as inputs": (
        "return nn.Linear(3, 2), (torch.randn(4, 3), torch.randn(4, 2))",
        r"target belongs into \(model, \(inputs, target\), loss_fn\)",
    ),
    "batch": ("return nn.Linear(3, 2), 7", r"the batch is an int: give the model's inputs as a tensor"),
    "no pair": (
        "return nn.Linear(3, 2), torch.randn(4, 3), F.mse_loss",
        r"batch must be \(inputs, target\), but it is a float32 tensor of 4x3",
    ),
    "loss not callable": (
        "return nn.Linear(3, 2), torch.randn(4, 3), torch.randn(4, 2)",
        r"third thing returned is a float32 tensor of 4x2",
    ),
    "loss of three": ("return nn.Linear(3, 2), torch.randn(4, 3), lambda a, b, c: a", r"takes 3 arguments"),
    "loss raises": (
        "return nn.Linear(3, 2), (torch.randn(4, 3), torch.randn(4, 2, 5)), nn.NLLLoss()",
        r"loss raised on .* 4x2 and .* 4x2x5: RuntimeError",
    ),
    "loss not scalar": (
        "return nn.Linear(3, 2), torch.randn(4, 3), lambda output: output",
        r"loss is a float32 tensor of 4x2: let loss_fn return",
    ),
    "misspelt": ("return nn.Liner(3, 2), torch.randn(4, 3)", r"raised AttributeError: .*mine.py:6"),
    "case without a pair": (
        "return Case(nn.Linear(3, 2), torch.randn(4, 3), F.mse_loss)",
        r"batch of a case is a Tensor: give \(inputs, target\)",
    ),
    "output without float": (
        "return (m := nn.Linear(3, 2), m.register_forward_hook(lambda *a: {'k': 1}))[0], torch.randn(4, 3)",
        r"knows no loss",
    ),
    "output without tensor": (
        "return (m := nn.Linear(3, 2), m.register_forward_hook(lambda *a: 'text'))[0], torch.randn(4, 3)",
        r"returns str",
    ),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_case_is_one_line_that_says_what_and_where(body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        resolve(write(tmp_path, body)).build(0)
    assert "\n" not in str(caught.value)


def test_input_beside_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--input does not apply"):
        resolve(write(tmp_path, GOOD["model and tensor"]), (4, 3)).build(0)


def test_a_bad_shape_for_a_bare_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="forward raised on a float32 tensor of 4x9"):
        resolve(write(tmp_path, "return nn.Linear(3, 2)"), (4, 9)).build(0)


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("import no_such_thing", "make", r"cannot be imported: ModuleNotFoundError: No module named 'no_such_thing' .*mine.py:1"),
        ("def make(:", "make", r"cannot be imported: SyntaxError: .*mine.py:1"),
        ("import sys; sys.exit()", "make", r"cannot be imported: SystemExit .*mine.py:1"),
        ("def maek(): pass", "make", r"no function 'make'. Did you mean 'maek'"),
        ("def make(): pass", "", r"no function ''"),
        ("make = 3", "make", r"'make' is of type int, not a function"),
        ("from torch import nn; make = nn.Linear(3, 2)", "make", r"'make' is of type Linear, not a function"),
        ("def make(depth, width=3, *rest): pass", "make", r"needs arguments \(depth\)"),
        ("def make(*, depth): pass", "make", r"needs arguments \(depth\)"),
    ],
)
def test_a_file_that_gives_no_function_says_why(source: str, function: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(BadInput, match=message) as caught:
        resolve(f"{tmp_path / 'mine.py'}:{function}").build(0)
    assert "\n" not in str(caught.value)


def test_an_import_error_keeps_its_cause(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise KeyError('x')")
    with pytest.raises(BadInput) as caught:
        resolve(f"{tmp_path / 'mine.py'}:make").build(0)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_missing_file_gets_a_near_miss(tmp_path: Path) -> None:
    write(tmp_path, "return None")
    with pytest.raises(BadInput, match=r"no file '.*mien.py'.*Did you mean 'mine.py'"):
        resolve(f"{tmp_path / 'mien.py'}:make").build(0)


@pytest.mark.parametrize("name", ["no_such_module:make", "gradfuzz.no_such_part:make"])
def test_a_missing_module_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=r"there is no module '(gradfuzz\.)?no_such"):
        resolve(name).build(0)
