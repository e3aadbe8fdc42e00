"""The package's own text: nothing in it unpickles, evaluates or runs what a file says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import iqlightning

PACKAGE = Path(iqlightning.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

#: Calls that run what they are given, whatever their arguments.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "input"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open", "dill.load", "joblib.load"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "torch.jit.load"),
    *("pandas.read_pickle", "runpy.run_path", "runpy.run_module", "subprocess.getoutput"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Dotted name and node of each call, names of imports resolved."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield aliases.get(first, first) + dot + rest, node


def problems(text: str) -> list[str]:
    found = []
    for name, node in calls(ast.parse(text)):
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if name in FORBIDDEN:
            found.append(f"line {node.lineno}: {name}")
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if name.endswith(".load_from_checkpoint") or options.get("weights_only") == "False":
            found.append(f"line {node.lineno}: {name} unpickles")
        if options.get("allow_pickle", "False") != "False" or options.get("shell", "False") != "False":
            found.append(f"line {node.lineno}: {name} with a shell or pickle")
    return found


def test_nothing_unpickles_or_evaluates():
    found = {str(path.relative_to(PACKAGE)): problems(path.read_text()) for path in FILES}
    assert {path: each for path, each in found.items() if each} == {}


def test_the_package_is_looked_at_whole():
    assert len(FILES) > 100


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(b'')",
        "from pickle import load as read\nread(file)",
        "import torch as t\nt.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "eval('1')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "Learner.load_from_checkpoint('x')",
    ],
)
def test_the_search_finds_what_it_is_for(text: str):
    assert problems(text)


def test_only_the_checkpoint_module_reads_checkpoints():
    reading = [path.name for path in FILES for name, _ in calls(ast.parse(path.read_text())) if name == "torch.load"]
    assert reading == ["checkpoint_files.py"]
