import ast
import subprocess
import sys
from pathlib import Path

import pytest

import iqlightning
from iqlightning import gridworld, losses, nets  # noqa: F401 - packages whose members are looked at
from iqlightning.documentation import main, write_pages

ALGORITHMS = ("IQLearn", "LSIQ", "SQIL", "IQFromObservations", "BehaviorCloning", "DQN", "SAC")


def test_every_public_name_is_there_listed_once_and_known_to_type_checkers():
    tree = ast.parse(Path(iqlightning.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == iqlightning._MODULES
    assert sorted(["__version__", *imported]) == sorted(iqlightning.__all__)
    assert all(getattr(iqlightning, name).__name__ == name for name in imported)


@pytest.mark.parametrize("family", ["nets.encoders", "gridworld.encoders", "losses.divergences", "nets.heads"])
def test_whole_families_have_their_names_at_the_top(family):
    module = __import__(f"iqlightning.{family}", fromlist=["__all__"])
    assert set(module.__all__) <= set(iqlightning.__all__)


def test_importing_the_package_imports_nothing_heavy():
    said = "import sys, iqlightning; print([name for name in ('torch', 'lightning', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_algorithm_names_its_paper_and_writes_out_every_argument(name):
    import inspect

    algorithm = getattr(iqlightning, name)
    doc = inspect.getdoc(algorithm) or ""
    assert '"' in doc
    assert "arXiv" in doc or "doi" in doc
    arguments = doc.partition("Args:\n")[2]
    for argument in inspect.signature(algorithm).parameters:
        assert f"\n    {argument}: " in f"\n{arguments}", argument
    assert "settings:" not in arguments
    assert "see " not in arguments.lower()


def test_documentation_has_every_public_name(tmp_path):
    pytest.importorskip("pdoc", reason="the extra docs is not installed")
    page = write_pages(tmp_path / "site").read_text()
    assert [name for name in iqlightning.__all__ if f'id="{name}"' not in page] == []
    assert "gradients are scaled down to this Euclidean norm" in page


def test_documentation_without_pdoc_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pdoc", None)
    assert main([str(tmp_path)]) == 2
    assert "pip install 'iqlightning[docs]'" in capsys.readouterr().err
    assert main(["one", "two"]) == 2
