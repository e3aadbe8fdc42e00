"""A curriculum is the same on two processes as on one, and where two processes are resumed in its middle."""

import re
import textwrap
from pathlib import Path

import pytest
from test_one_and_two_processes import CLOSE, figures, in_processes, largest_difference

_FILE = """
    model: {class_path: IQLearn, init_args: {encoder: {class_path: MLP, init_args: {hidden: [16]}}}}
    data:
      class_path: ImitationData
      init_args:
        env: {class_path: GridWorldConfig, init_args: {height: 5, width: 5, num_walls: 4}}
        episodes: 60
        batch_size: 24
        updates_per_epoch: 10
        updates_per_step: 5
    trainer:
      accelerator: cpu
      precision: 64-true
      max_steps: 40
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 31, test_episodes: 10}}
        - class_path: Curriculum
          init_args:
            episodes: 31
            stages:
              - {success: 0.05, max_size: 3, num_walls: 1}
              - {epochs: 1, wall_density: 0.2}
              - {epochs: 1, level: random_walls, num_walls: 2}
"""


def write(folder: Path, updates: int, more: str = "") -> None:
    text = re.sub("max_steps: .*", f"max_steps: {updates}", textwrap.dedent(_FILE))
    (folder / "easy_first.yaml").write_text(text + more)


def test_two_processes_pass_the_stages_as_one_does_and_a_resumed_run_goes_on_in_its_stage(tmp_path):
    write(tmp_path, 40)
    in_processes(1, tmp_path, ["easy_first"])
    write(tmp_path, 20)
    in_processes(2, tmp_path, ["easy_first"])
    write(tmp_path, 40, "ckpt_path: last\n")
    in_processes(2, tmp_path, ["easy_first"])
    one, first, second = (tmp_path / "logs" / "easy_first" / f"version_{number}" for number in range(3))
    assert largest_difference(one, second) < CLOSE
    rows = [[row for row in figures(run) if row.get("curriculum/stage")] for run in (one, first, second)]
    together = rows[1] + rows[2]
    stages = [float(row["curriculum/stage"]) for row in rows[0]]
    assert stages == sorted(stages)
    assert stages[0] == 0 < stages[-1]
    assert len(together) == 4
    for row, other in zip(rows[0], together, strict=True):
        for name in ("step", "curriculum/stage", "curriculum/success_rate"):
            assert float(row[name]) == pytest.approx(float(other[name]), abs=CLOSE)
