import json

import pytest
import yaml
from small_runs import TINY

from iqlightning.cli.bench_sweep import _monitored, _validations
from iqlightning.cli.one_process import one_process


def test_rows_are_measured_and_written(workplace):
    status = workplace.run("bench", "speed", "--rows", "environment,evaluation", "--quick", "--json", "x.json")
    shown = workplace.shown()
    assert status == 0, shown
    assert "environment steps" in shown
    written = json.loads((workplace.folder / "x.json").read_text())
    assert {"machine", "torch", "repeats", "results"} <= set(written)
    rows = {result["row"]: result for result in written["results"]}
    assert set(rows) == {"environment", "evaluation"}
    assert rows["environment"]["median"] > 0


@pytest.mark.slow
def test_fit_is_measured_beside_a_plain_loop(workplace):
    status = workplace.run("bench", "speed", "--rows", "mlp,dqn", "--quick", "--json", "x.json")
    assert status == 0, workplace.shown()
    ratio, eager, compiled = json.loads((workplace.folder / "x.json").read_text())["results"]
    assert len(ratio["values"]) == 2
    assert set(ratio["rates"]) == {"fit", "plain eager loop"}
    assert "64 environments, eager" in eager["what"]
    assert "64 environments, compiled" in compiled["what"]
    assert not list(workplace.folder.glob("logs/*"))


def test_mistakes_are_told_in_one_sentence(workplace):
    assert "did you mean 'speed'" in workplace.refused("bench", "sped")
    assert "did you mean 'mlp'" in workplace.refused("bench", "speed", "--rows", "mpl")


def test_a_sweep_searches_and_goes_on(workplace):
    optimizer = "log_every: 10\n        optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.001}}"
    workplace.write("tuned.yaml", TINY.replace("log_every: 10", optimizer))
    sweep = ("bench", "sweep", "--config", "tuned.yaml", "--space", "model.optimizer.init_args.lr=log:1e-3:1e-1")
    assert workplace.run(*sweep, "--trials", "1") == 0, workplace.shown()
    assert workplace.run(*sweep, "--trials", "2") == 0, workplace.shown()
    shown = workplace.shown()
    assert "trial 1 (2 of 2)" in shown
    assert "best: iqlightning fit --config tuned.yaml --seed_everything 0 --model.optimizer.init_args.lr=0.0" in shown
    assert "sweep over 2 trials" in shown
    settings = [path.read_text() for path in sorted(workplace.folder.glob("logs/sweep/tuned/trial_*/*/*/config.yaml"))]
    first, second = (yaml.safe_load(text)["model"]["init_args"]["optimizer"]["init_args"]["lr"] for text in settings)
    assert first != second  # the second call does not draw the first one's numbers
    assert "sweep of other settings" in workplace.refused(*sweep[:-1], "data.episodes=int:20:40")
    assert "sweep of other settings" in workplace.refused(*sweep, "--set", "checkpoint.monitor=val/success_rate")
    with one_process(workplace.folder / "logs/sweep/tuned"):
        assert "another process works in 'logs/sweep/tuned'" in workplace.refused(*sweep)


def test_spaces_that_are_none_are_refused(workplace):
    refused = workplace.refused("bench", "sweep", "--config", "tiny.yaml", "--space", "lr=lgo:1:2")
    assert "log:1e-4:1e-2" in refused
    assert "smaller first" in workplace.refused("bench", "sweep", "--config", "tiny.yaml", "--space", "lr=log:2:1")


def test_a_sweep_needs_a_figure_to_compare_by(workplace):
    sweep = ("bench", "sweep", "--config", "tiny.yaml", "--space", "data.episodes=int:20:40")
    workplace.write("tiny.yaml", f"{TINY}\n    checkpoint: {{monitor: null}}\n")
    assert "--set checkpoint.monitor=val/mean_return checkpoint.mode=max" in workplace.refused(*sweep)
    assert "did you mean 'max'? Valid: min, max" in workplace.refused(
        *sweep, "--set", "checkpoint.monitor=val/mean_return", "checkpoint.mode=maxi"
    )
    workplace.write("tiny.yaml", f"{TINY}\n    checkpoint: [monitor]\n")
    assert "in 'tiny.yaml', but it must hold keys and values" in workplace.refused(*sweep)
    assert not list(workplace.folder.glob("logs/sweep/*"))


def test_what_a_sweep_compares_by_is_what_fit_would_monitor(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text("base: gridworld.yaml\ncheckpoint: {mode: max}\n")
    assert _monitored(str(config), []) == ("val/distance_ratio", "max")
    settings = ["--data.episodes=3", "--checkpoint.monitor=val/return", "--checkpoint.mode=min"]
    assert _monitored(str(config), settings) == ("val/return", "min")
    assert _monitored(str(config), ["--checkpoint={monitor: val/loss}"]) == ("val/loss", "max")


def test_half_a_line_is_no_validation(tmp_path):
    file = tmp_path / "run/version_0/metrics.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"step,val/x\r\n10,0.5\r\n20,\r\n30,nan\r\n40,0.9")
    assert _validations(tmp_path, "val/x") == [(10, 0.5)]
    file.write_bytes(file.read_bytes() + b"87\r\n")
    assert _validations(tmp_path, "val/x") == [(10, 0.5), (40, 0.987)]


def test_an_experiment_lists_what_it_would_run(workplace):
    assert workplace.run("bench", "generalisation", "--dry_run", "--seeds", "4", "--only", "MLP_*") == 0
    shown = workplace.shown().splitlines()
    assert len(shown) == 6
    assert all(line.startswith("to do") and "MLP_" in line and "seed 4" in line for line in shown)
    assert "--dry_run lists them" in workplace.refused("bench", "generalisation", "--only", "nothing")
    assert "did you mean 'GridCNN'" in workplace.refused("bench", "generalisation", "--encoders", "GridCN")


@pytest.mark.slow
def test_an_experiment_is_run_drawn_and_not_run_again(workplace):
    bench = ("bench", "generalisation", "--quick", "--encoders", "GridCNN", "MLP", "--seeds", "0")
    assert workplace.run(*bench, "--jobs", "2") == 0, workplace.shown()
    folder = workplace.folder / "logs/generalisation"
    table = json.loads((folder / "table.json").read_text())
    assert {row["group"] for row in table["rows"]} >= {"GridCNN_iq_learn_10", "MLP_cloning_10", "random policy"}
    assert {file.name for file in folder.glob("*.png")} == {"sample_efficiency.png", "size_transfer.png"}
    assert len(list(folder.glob("seed_0/*/version_*"))) == 4
    assert workplace.run(*bench) == 0
    assert len(list(folder.glob("seed_0/*/version_*"))) == 4
