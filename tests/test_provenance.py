import os
import subprocess
from pathlib import Path

import pytest
import torch

import iqlightning
from iqlightning.provenance import in_brief, machine, provenance


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_versions_machine_and_threads_are_what_they_are() -> None:
    made = provenance()
    assert made["versions"]["iqlightning"] == iqlightning.__version__
    assert made["versions"]["torch"] == torch.__version__
    assert {"python", "lightning", "gymnasium"} <= set(made["versions"])
    assert made["machine"]["cores"] == os.cpu_count()
    assert made["machine"]["threads"] == torch.get_num_threads()
    assert len(made["machine"]["gpus"]) == torch.cuda.device_count()
    assert made["machine"]["processor"]
    assert provenance() == made  # nothing in it changes, so that equal runs write equal files


def test_the_project_is_the_checkout_one_works_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "project" not in provenance()
    _git(tmp_path, "init", "-q")
    (tmp_path / "a.yaml").write_text("1")
    _git(tmp_path, "add", "a.yaml")
    _git(tmp_path, "commit", "-qm", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "not under control").write_text("1")
    assert provenance()["project"] == {"commit": commit, "dirty": False}
    (tmp_path / "a.yaml").write_text("2")
    assert provenance()["project"] == {"commit": commit, "dirty": True}


def test_a_record_in_one_line() -> None:
    made = {
        "versions": {"iqlightning": "0.1.0", "torch": "2.14.1"},
        "code": {"commit": "0123456789abcdef", "dirty": True},
        "machine": {"processor": "A chip", "threads": 2, "gpus": ["A card"]},
    }
    assert in_brief(made) == "iqlightning 0.1.0 (01234567, changed); torch 2.14.1; A chip, 2 threads; A card"
    assert in_brief({}) == ""
    assert in_brief({"versions": "x", "machine": 3}) == ""
    assert machine()["processor"] in in_brief(provenance())
