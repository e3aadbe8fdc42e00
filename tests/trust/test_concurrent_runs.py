"""Runs that start at once share a folder of runs and a folder of data without getting in each other's way."""

import json
from functools import partial

import pytest
import torch
from counts import slow
from faults import signal_in_write, write_down
from forked_commands import Fault
from processes_together import wait_for_all
from small_configurations import differences, last_checkpoint

from iqlightning.data.demonstrations import load_demonstrations


@pytest.mark.parametrize(("count", "episodes"), [(3, 40), *slow((8, 5000))])
def test_runs_at_once_get_folders_of_their_own_and_share_their_data(tmp_path, commands, count, episodes):
    notes = tmp_path / "notes"
    notes.mkdir()
    fault: Fault = partial(write_down, notes)
    runs = [
        commands.start("fit", "--config", "bc.yaml", "--data.episodes", episodes, fault=fault) for _ in range(count)
    ]
    assert wait_for_all(runs, 240) == [0] * count, [run.said for run in runs]
    folders = sorted((tmp_path / "logs" / "bc").iterdir())
    assert [each.name for each in folders] == [f"version_{number}" for number in range(count)]
    first = last_checkpoint(folders[0])
    for each in folders:
        assert differences(last_checkpoint(each), first) == []
        assert len(list(each.glob("events.out.tfevents.*"))) == 1
        assert (each / "metrics.csv").read_text() == (folders[0] / "metrics.csv").read_text()
    # one of them made the demonstrations, and nothing else is left of it
    (path,) = (tmp_path / "data").iterdir()
    assert load_demonstrations(path)[0].num_episodes == episodes
    assert sum(json.loads(note.read_text()) for note in notes.iterdir()) == 1


def test_a_file_is_not_read_while_it_is_written(tmp_path, commands):
    """A run that is held up in the middle of writing demonstrations keeps none waiting, and its half is not read."""
    halted = commands.start("fit", "--config", "bc.yaml", fault=partial(signal_in_write, 0.5))
    assert halted.wait() == 128 + 9
    assert {path.suffix for path in (tmp_path / "data").iterdir()} == {".tmp", ".lock"}
    commands.run("fit", "--config", "bc.yaml")
    (path,) = tmp_path.glob("data/*.safetensors")
    assert load_demonstrations(path)[0].actions.dtype == torch.int64
