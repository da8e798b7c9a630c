"""A find as a script that needs only torch: the step call by call, right and broken, and the gradients of both."""

from __future__ import annotations

import ast
import re
from textwrap import indent

from gradfuzz.fuzzing.architecture import Architecture
from gradfuzz.fuzzing.finding import Finding
from gradfuzz.fuzzing.gate import gated
from gradfuzz.operators import find_site, operators
from gradfuzz.records import Mutant
from gradfuzz.script import sections
from gradfuzz.script.step import BREAK, Step, table

WIDEST = 140  # characters of a line
SHOW = "print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})"
SYMBOLIC = """
for step in (model, torch.fx.symbolic_trace(model)):
    model.zero_grad()
    torch.manual_seed({seed})
    loss_fn(step(*inputs), target).backward()
    print({{name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()}})
"""
PLAIN = """
loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
"""


def write(finding: Finding) -> str:
    """The text of the script. It prints the gradients of the right step, then those of the broken one."""
    head = f'"""{_escaped(_about(finding))}"""\n'
    if finding.operator == "none":
        call = SYMBOLIC.format(seed=finding.architecture.seed) if finding.target == "front-ends" else PLAIN
        code = finding.architecture.code()
        imports = "import torch\nimport torch.fx\n" if finding.target == "front-ends" else "import torch\n"
        return head + code.replace("import torch\n", imports, 1) + call
    return head + _broken(finding)


def _about(finding: Finding) -> str:
    what = f"{finding.operator} at {finding.site}" if finding.operator != "none" else "a correct case"
    known = [finding.reason] if finding.reason else []
    return "\n".join([f"{finding.target}: {what} ({finding.kind}): {finding.effect}.", *finding.detail, *known])


def _escaped(text: str) -> str:
    """Text as it may stand between three double quotes."""
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    return f"{text} " if text.endswith('"') else text


def _broken(finding: Finding) -> str:
    traced = gated(finding.architecture)
    operator = operators[finding.operator]
    mutant = Mutant(traced.name, finding.operator, finding.site, finding.variant)
    step = Step(traced, operator.mutate(traced, find_site(operator, traced, mutant), finding.variant))
    body = shortened([line for line in step.lines() if not line.strip().startswith("#")])
    helpers = [unannotated(helper) for helper in step.source.helpers.values()]
    if step.rewinds:
        helpers.append(sections.REWIND.format(generator="torch").strip())
    wanted = {line for line in step.source.imports if re.search(rf"(?<![.\w]){line.split()[-1]}\b", "\n".join(helpers + body))}
    imports = sorted({"import torch", "from torch import nn"} | wanted, key=lambda line: (line.startswith("from"), line))
    constants = [f"c = {chr(10).join(table(step.constants()))}"] if step.constants() else []
    parts = [
        "\n".join(imports),
        *helpers,
        "\n".join([*_building(finding.architecture), *constants]),
        f"def training_step(broken, p, b):\n{indent(chr(10).join(body), '    ')}",
        "\n".join(_both(finding.architecture, step.edits_of_leaves(), bool(traced.random_states))),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def unannotated(helper: str) -> str:
    """The source of a helper without its docstring, and without types, which would have to be imported."""
    tree = ast.parse(helper)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node) and len(node.body) > 1:
                node.body = node.body[1:]
        elif isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(tree)


def _both(architecture: Architecture, edits: list[str], random: bool) -> list[str]:
    """Run the right step and the broken one."""
    return [
        "for broken in (False, True):",
        "    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}",
        *(["    if broken:", *(f"        {line}" for line in edits)] if edits else []),
        *([f"    torch.manual_seed({architecture.seed})"] if random else []),
        "    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()",
        f"    {SHOW}",
    ]


def _building(architecture: Architecture) -> list[str]:
    """The modules of the architecture, by name, with the very numbers that its code gives them."""
    written = architecture.written
    targets = written.targets[0] if len(written.targets) == 1 else f"({', '.join(written.targets)})"
    pairs = [declaration.partition(" = ") for declaration in written.declarations]
    made = {name: form for name, equals, form in pairs if equals and "." not in name}
    together = "model = nn.ModuleDict({" + ", ".join(f'"{name}": {form}' for name, form in made.items()) + "})"
    modules = [together] if len(together) <= WIDEST else ["model = nn.Module()", *(f"model.{name} = {form}" for name, form in made.items())]
    tied = [f"model.{name} = model.{form}" for name, _, form in pairs if name.endswith(".weight")]
    frozen = [f"model.{name}" for name, equals, _ in pairs if not equals]
    batch = f"inputs, target = ({', '.join(written.inputs)},), {targets}"
    return ["aten = torch.ops.aten", f"torch.manual_seed({architecture.seed})", *modules, *tied, *frozen, batch]


PAIR = re.compile(r"(\w+) = (aten\.broadcast_tensors\(.*\))")
ELEMENT = re.compile(r"(\w+) = (\w+\[\d+\])")


def shortened(lines: list[str]) -> list[str]:
    """Without variables that only name an element of a tuple or the result, and that nothing else reads."""
    for line in list(lines):
        found = ELEMENT.fullmatch(line)
        if found and len(re.findall(rf"\b{found[1]}\b", "\n".join(lines))) == 2:
            lines = [re.sub(rf"\b{found[1]}\b", found[2], other) for other in lines if other is not line]
    for line in list(lines):
        pair = PAIR.fullmatch(line)
        if pair and len(re.findall(rf"\b{pair[1]}\b", text := "\n".join(lines))) == 3 and f"{pair[1]}[0], {pair[1]}[1])" in text:
            lines = [other.replace(f"{pair[1]}[0], {pair[1]}[1])", f"*{pair[2]})") for other in lines if other is not line]
    last = lines[-1].removeprefix("return ")
    if len(lines) > 1 and lines[-2].startswith(f"{last} = ") and BREAK not in lines[-2]:
        lines = [*lines[:-2], f"return {lines[-2].removeprefix(f'{last} = ')}"]
    return lines
