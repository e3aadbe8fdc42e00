import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iqlightning.cli import trial_process
from iqlightning.cli.trial_process import _run


@pytest.fixture
def run(monkeypatch, tmp_path, capfd) -> Callable[[list[list[str]]], list[dict]]:
    """Runs commands as a trial's process does, and takes back what such a process may keep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial_process.os, "setsid", lambda: None)  # the process of the tests stays in its session

    def commands_to_statuses(commands: list[list[str]]) -> list[dict]:
        with capfd.disabled():
            sys.stdout.flush()
            sys.stderr.flush()
            kept = os.dup(1), os.dup(2)
            try:
                _run(commands, str(tmp_path / "a/log"), str(tmp_path / "statuses.json"), str(tmp_path))
            finally:
                for number, descriptor in enumerate(kept, start=1):
                    os.dup2(descriptor, number)
                    os.close(descriptor)
        return json.loads((tmp_path / "statuses.json").read_text())

    return commands_to_statuses


def test_a_run_that_breaks_ends_the_trial_and_leaves_its_status(monkeypatch, run, tmp_path: Path):
    asked = []

    def main(command: list[str]) -> int:
        asked.append(command[0])
        if command[0] == "fit":
            print("iqlightning: a sentence of the run that came to its end")
            return 0
        os.write(2, b"warning of a library\n")
        raise MemoryError("no more memory")

    monkeypatch.setattr(trial_process, "main", main)
    monkeypatch.setattr(trial_process.os, "setsid", lambda: asked.append("apart"))
    with pytest.raises(SystemExit, match="1"):
        run([["fit"], ["evaluate"], ["evaluate"]])
    statuses = json.loads((tmp_path / "statuses.json").read_text())
    assert asked == ["apart", "fit", "evaluate"]
    assert statuses == [{"status": 0, "sentence": ""}, {"status": 1, "sentence": "MemoryError: no more memory"}]
    said = (tmp_path / "a/log").read_text()
    assert said.index("$ iqlightning fit") < said.index("$ iqlightning evaluate") < said.index("warning of a library")
    assert said.endswith("MemoryError: no more memory\n")


def test_an_evaluation_that_is_refused_does_not_end_the_trial_and_each_sentence_is_its_own(monkeypatch, run):
    def main(command: list[str]) -> int:
        if command[0] == "fit":
            print("iqlightning: this is no mistake of an evaluation", file=sys.stderr)
            return 0
        if command[1] == "own":
            return 0
        print(f"iqlightning: there is no size '{command[1]}'", file=sys.stderr)
        return 2

    monkeypatch.setattr(trial_process, "main", main)
    statuses = run([["fit"], ["evaluate", "large"], ["evaluate", "own"], ["evaluate", "small"]])
    assert [each["status"] for each in statuses] == [0, 2, 0, 2]
    assert [each["sentence"] for each in statuses] == ["", "there is no size 'large'", "", "there is no size 'small'"]


def test_the_sentence_is_the_command_s_own_or_else_the_last_line():
    assert trial_process._sentence(b"x\niqlightning: there is no level 'a'\n\n") == "there is no level 'a'"
    assert trial_process._sentence(b"Traceback:\n  File a\nImportError: cannot import b\n") == (
        "ImportError: cannot import b"
    )


def test_all_that_a_run_needs_is_imported_before_the_first():
    import iqlightning.cli.preload  # noqa: F401 its import is what it does

    package = Path(trial_process.__file__).parents[1]
    for family in ("algorithms", "callbacks", "data", "envs", "evaluation", "losses", "nets"):
        for file in (package / family).rglob("*.py"):
            parts = file.relative_to(package).with_suffix("").parts
            name = ".".join(["iqlightning", *parts]).removesuffix(".__init__")
            assert name in sys.modules
