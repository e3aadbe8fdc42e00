import json

import pytest

from iqlightning.cli import trial_process
from iqlightning.cli.trial_process import _families, _run


@pytest.fixture
def descriptors(monkeypatch, tmp_path):
    """Standard output stays where it is, and the folder is left again: the process of the test has to go on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial_process.os, "dup2", lambda source, target: None)


def test_a_run_that_breaks_ends_the_trial_and_leaves_its_status(tmp_path, monkeypatch, descriptors):
    asked = []

    def main(command: list[str]) -> int:
        asked.append(command[0])
        if command[0] == "fit":
            return 0
        raise RuntimeError("no more memory")

    monkeypatch.setattr(trial_process, "main", main)
    monkeypatch.setattr(trial_process, "_sentence", lambda said: "RuntimeError: no more memory")
    statuses = tmp_path / "statuses.json"
    with pytest.raises(SystemExit, match="1"):
        _run([["fit"], ["evaluate"], ["evaluate"]], str(tmp_path / "a/log"), str(statuses), str(tmp_path))
    assert asked == ["fit", "evaluate"]
    kept = json.loads(statuses.read_text())
    assert kept == [{"status": 0, "sentence": ""}, {"status": 1, "sentence": "RuntimeError: no more memory"}]


def test_an_evaluation_that_is_refused_does_not_end_the_trial(tmp_path, monkeypatch, descriptors):
    monkeypatch.setattr(trial_process, "main", lambda command: 2 if command == ["evaluate", "large"] else 0)
    monkeypatch.setattr(trial_process, "_sentence", lambda said: "plays its own size only")
    statuses = tmp_path / "statuses.json"
    _run([["evaluate", "large"], ["evaluate", "own"]], str(tmp_path / "log"), str(statuses), str(tmp_path))
    assert [each["status"] for each in json.loads(statuses.read_text())] == [2, 0]


def test_the_sentence_is_the_command_s_own_or_else_the_last_line():
    assert trial_process._sentence(b"x\niqlightning: there is no level 'a'\n\n") == "there is no level 'a'"
    assert trial_process._sentence(b"Traceback:\n  File a\nImportError: cannot import b\n") == (
        "ImportError: cannot import b"
    )


def test_all_families_are_imported_before_the_first_run():
    names = _families()
    assert {"iqlightning.nets.encoders.mlp", "iqlightning.losses.divergences.chi2"} <= set(names)
    assert not any(name.endswith("__init__") for name in names)
