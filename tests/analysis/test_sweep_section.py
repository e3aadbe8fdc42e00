import json

import pytest

from iqlightning.analysis.charts import scatter
from iqlightning.analysis.report import sweep
from iqlightning.analysis.report.sweep import SWEEP_FILE, sweep_section
from iqlightning.errors import UserError

LR = "model.optimizer.init_args.lr"
ENCODER = "model.encoder"


def recorded(trials: list[tuple[dict, float | None, str]], mode: str = "min") -> str:
    listed = [
        {"number": number, "params": params, "value": value, "state": state}
        for number, (params, value, state) in enumerate(trials)
    ]
    spaces = {LR: ["log", ["1e-4", "1e-2"]], ENCODER: ["choice", ["MLP", "GridCNN"]]}
    return json.dumps({"config": "a.yaml", "monitor": "val/x", "mode": mode, "spaces": spaces, "trials": listed})


TRIALS = [
    ({LR: 0.001, ENCODER: "MLP"}, 3.0, "complete"),
    ({LR: 0.01, ENCODER: "GridCNN"}, 1.5, "complete"),
    ({LR: 0.005, ENCODER: "<b>"}, None, "pruned"),
    ({LR: 0.002, ENCODER: "MLP"}, None, "fail"),
]


def test_the_best_trial_comes_first_in_the_direction_of_the_search(tmp_path):
    (tmp_path / SWEEP_FILE).write_text(recorded(TRIALS))
    body = sweep_section(tmp_path).body
    assert "4 trials of a.yaml" in body
    assert "2 came to their end, 1 were stopped" in body
    assert "1 failed" in body
    assert "Best is trial 1 with lr 0.01, encoder GridCNN: val/x 1.5" in body
    rows = body[body.index("<table>") :]
    assert rows.index("trial 1") < rows.index("trial 0") < rows.index("trial 2")
    (tmp_path / SWEEP_FILE).write_text(recorded(TRIALS, "max"))
    assert "Best is trial 0" in sweep_section(tmp_path).body


def test_a_stopped_trial_is_never_the_best_one(tmp_path):
    stopped = ({LR: 0.003, ENCODER: "MLP"}, 0.5, "pruned")
    (tmp_path / SWEEP_FILE).write_text(recorded([stopped, *TRIALS]))
    body = sweep_section(tmp_path).body
    assert "Best is trial 2 with lr 0.01" in body
    rows = body[body.index("<table>") :]
    assert rows.index("trial 2") < rows.index("trial 1") < rows.index("trial 0") < rows.index("trial 3")
    assert rows.index("trial 2") < rows.index('class="n best"') < rows.index("trial 1")
    assert rows.count("best") == 1


def test_a_chart_for_each_setting_has_the_trials_that_ended(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sweep, "scatter", lambda x, y, *rest, **more: drawn.append(y) or scatter(x, y, *rest, **more))
    (tmp_path / SWEEP_FILE).write_text(recorded(TRIALS))
    body = sweep_section(tmp_path).body
    assert body.count("<figure>") == 2
    assert [len(dots) for dots in drawn] == [2, 2]
    assert "<b>&lt;b&gt;" not in body
    assert "&lt;b&gt;" in body  # a value is shown as it is, not as markup


def test_without_a_trial_that_ended_there_is_a_table_alone(tmp_path):
    (tmp_path / SWEEP_FILE).write_text(recorded(TRIALS[2:]))
    body = sweep_section(tmp_path).body
    assert "<figure>" not in body
    assert "trial 1" in body


@pytest.mark.parametrize(
    "written",
    [
        '{"monitor": "val/x"',
        '{"monitor": "val/x"}',
        "[]",
        recorded(TRIALS).replace('"spaces": {', '"spaces": [], "others": {'),
        recorded([([], 3.0, "complete")]),  # type: ignore[list-item]
    ],
)
def test_a_damaged_record_is_one_sentence(tmp_path, written):
    (tmp_path / SWEEP_FILE).write_text(written)
    with pytest.raises(UserError, match=r"sweep\.json"):
        sweep_section(tmp_path)
