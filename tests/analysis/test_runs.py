import json

import pytest
import yaml

from iqlightning.analysis.runs import differing_settings, find_runs, group_runs
from iqlightning.errors import UserError


def make_run(folder, *, seed=0, encoder="iqlightning.nets.encoders.GridCNN", lr=0.001, summary=True):
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "model": {
            "class_path": "iqlightning.algorithms.IQLearn",
            "init_args": {"encoder": {"class_path": encoder}, "optimizer": {"init_args": {"lr": lr}}},
        },
        "data": {"init_args": {"directory": f"data{seed}"}},
        "trainer": {"default_root_dir": str(folder)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.csv").write_text(
        "epoch,step,train/loss,val/success_rate\n,20,0.5,\n0,99,,0.25\n,120,nan,\n,oops,1,\n1,199,,0.75\n"
    )
    if summary:
        rows = [{"policy": "IQLearn, greedy", "success_rate": 0.5, "episodes": 10}]
        (folder / "summary.json").write_text(json.dumps({"rows": rows, "episodes": 10, "seed": 0}))
    return folder


def test_runs_are_found_in_their_own_folder_and_below_others(tmp_path):
    run = make_run(tmp_path / "logs" / "cnn_iq" / "version_0")
    make_run(tmp_path / "logs" / "cnn_iq" / "version_10", seed=2)
    make_run(tmp_path / "logs" / "cnn_iq" / "version_9", seed=1)
    assert [found.folder for found in find_runs([run])] == [run]
    for above in (tmp_path / "logs", tmp_path / "logs" / "cnn_iq"):
        assert [found.folder.name for found in find_runs([above])] == ["version_0", "version_9", "version_10"]
    assert len(find_runs([run, tmp_path / "logs"])) == 3


def test_curves_count_updates_and_skip_what_is_no_number(tmp_path):
    (run,) = find_runs([make_run(tmp_path / "a" / "version_0")])
    assert run.curves == {"train/loss": [(20, 0.5)], "val/success_rate": [(100, 0.25), (200, 0.75)]}
    assert (run.name, run.seed) == ("a", 0)
    assert run.checkpoint is None


def test_seeds_and_places_do_not_make_another_experiment(tmp_path):
    make_run(tmp_path / "iq" / "version_0", seed=3)
    make_run(tmp_path / "iq" / "version_1", seed=1)
    make_run(tmp_path / "iq" / "version_2", seed=1, lr=0.01)
    make_run(tmp_path / "mlp" / "version_0", encoder="iqlightning.nets.encoders.MLP")
    groups = group_runs(find_runs([tmp_path]))
    assert [group.label for group in groups] == ["iq (lr=0.001)", "iq (lr=0.01)", "mlp"]
    assert [run.seed for run in groups[0].runs] == [1, 3]
    assert groups[0].shown is None
    assert differing_settings([group.runs[0] for group in groups]) == {
        "model.encoder.class_path": ["GridCNN", "GridCNN", "MLP"],
        "model.optimizer.lr": ["0.001", "0.01", "0.001"],
    }


def test_a_label_has_as_few_settings_as_tell_runs_apart(tmp_path):
    encoders = ["iqlightning.nets.encoders.GridCNN", "iqlightning.nets.encoders.MLP"]
    for number, (encoder, lr) in enumerate((encoder, lr) for encoder in encoders for lr in (0.1, 0.2, 0.3)):
        make_run(tmp_path / "iq" / f"version_{number}", encoder=encoder, lr=lr)
    labels = [group.label for group in group_runs(find_runs([tmp_path]))]
    assert len(set(labels)) == 6
    assert labels[0] == "iq (encoder=GridCNN, lr=0.1)"
    # one of them suffices where it differs from run to run
    for number in range(3):
        make_run(tmp_path / "mlp" / f"version_{number}", encoder=encoders[number % 2], lr=0.1 + number)
    assert [group.label for group in group_runs(find_runs([tmp_path / "mlp"]))][:2] == ["mlp (lr=0.1)", "mlp (lr=1.1)"]


def test_a_long_value_is_shortened_and_runs_stay_apart(tmp_path):
    for number in range(2):
        name = f"iqlightning.nets.encoders.{'Long' * 10}{number}{'Name' * 10}"
        make_run(tmp_path / "iq" / f"version_{number}", encoder=name)
    labels = [group.label for group in group_runs(find_runs([tmp_path]))]
    assert labels == ["iq (encoder=LongLongLo…eNameName) #1", "iq (encoder=LongLongLo…eNameName) #2"]


def test_what_looks_like_a_run_and_is_none_is_named_and_left_out(tmp_path):
    good = make_run(tmp_path / "iq" / "version_0")
    for number, name in ((1, "hparams.yaml"), (2, "metrics.csv")):
        (tmp_path / "iq" / f"version_{number}").mkdir()
        (tmp_path / "iq" / f"version_{number}" / name).write_text("x")
    said = []
    assert [run.folder for run in find_runs([tmp_path, tmp_path / "iq" / "version_1"], said.append)] == [good]
    lacking = ["lacks config.yaml and metrics.csv", "lacks config.yaml", "version_1' holds no run"]
    assert len(said) == 3
    for part, sentence in zip(lacking, said, strict=True):
        assert part in sentence
        assert sentence.endswith("; it is left out")


def test_a_run_that_was_killed_is_still_read(tmp_path):
    folder = make_run(tmp_path / "a" / "version_0", summary=False)
    (folder / "summary.json").write_text('{"rows": [')
    (folder / "metrics.csv").write_text("")
    (run,) = find_runs([folder])
    assert run.summary is None
    assert run.curves == {}


def test_mistakes_are_told(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        find_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="holds no run"):
        find_runs([tmp_path])
    folder = make_run(tmp_path / "a" / "version_0")
    (folder / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot read the settings"):
        find_runs([folder])
    (folder / "config.yaml").write_text("just text")
    with pytest.raises(UserError, match="not the record of a run"):
        find_runs([folder])
