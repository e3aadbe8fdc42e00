import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from iqlightning.checkpoint_files import write_checkpoint
from iqlightning.cli.run_folder import claim_run_folder, find_checkpoint
from iqlightning.errors import UserError


def make_run(root, version, *names, damaged=()):
    folder = root / "name" / f"version_{version}" / "checkpoints"
    for age, name in enumerate([*names, *damaged]):
        write_checkpoint({"version": version}, folder / name)
        os.utime(folder / name, (1000 - age, 1000 - age))
    for name in damaged:
        (folder / name).write_bytes(b"PK\x03\x04 torn")
    return folder


def test_versions_count_up_from_zero(tmp_path):
    assert [claim_run_folder(tmp_path, "name").name for _ in range(3)] == ["version_0", "version_1", "version_2"]
    (tmp_path / "name" / "version_9").mkdir()
    (tmp_path / "name" / "version_x").mkdir()
    assert claim_run_folder(tmp_path, "name").name == "version_10"


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim_run_folder(tmp_path, "name"), range(64)))
    assert len(set(folders)) == 64


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "logs").write_text("a file is in the way")
    with pytest.raises(UserError, match=r"cannot write to the folder of runs .*logs.*default_root_dir"):
        claim_run_folder(tmp_path / "logs", "name")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="Permission denied"):
        claim_run_folder(tmp_path, "name")


def test_last_and_best_are_those_of_the_newest_run_that_has_one(tmp_path):
    make_run(tmp_path, 2, "best.ckpt", "last.ckpt")
    make_run(tmp_path, 10, "last.ckpt")
    (tmp_path / "name" / "version_11").mkdir()
    assert find_checkpoint("last", tmp_path, "name").parts[-3] == "version_10"
    assert find_checkpoint("best", tmp_path, "name").parts[-3] == "version_2"
    with pytest.raises(UserError, match=r"no run with a checkpoint 'best' in .*other"):
        find_checkpoint("best", tmp_path, "other")


def test_a_damaged_last_is_replaced_by_the_newest_whole_one_and_that_is_said(tmp_path, capsys):
    folder = make_run(tmp_path, 0, "older.ckpt", "best.ckpt", damaged=["last.ckpt", "torn.ckpt"])
    assert find_checkpoint("last", tmp_path, "name") == folder / "older.ckpt"
    err = capsys.readouterr().err
    assert "last.ckpt' is damaged" in err
    assert "going on from" in err
    assert "older.ckpt" in err


def test_an_earlier_run_takes_the_place_of_one_without_a_whole_checkpoint(tmp_path, capsys):
    make_run(tmp_path, 0, "best.ckpt", "last.ckpt")
    earlier = make_run(tmp_path, 1, "last.ckpt", damaged=["best.ckpt"])
    newest = make_run(tmp_path, 2, damaged=["last.ckpt", "best.ckpt"])
    assert find_checkpoint("last", tmp_path, "name") == earlier / "last.ckpt"
    assert f"going on from '{earlier / 'last.ckpt'}' instead" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"best\.ckpt' is damaged"):
        find_checkpoint("best", newest.parents[2], "name")


def test_a_damaged_checkpoint_without_another_or_given_by_path_is_refused(tmp_path):
    folder = make_run(tmp_path, 0, damaged=["last.ckpt"])
    with pytest.raises(UserError, match="damaged"):
        find_checkpoint("last", tmp_path, "name")
    make_run(tmp_path, 0, "best.ckpt")
    with pytest.raises(UserError, match="damaged"):
        find_checkpoint(str(folder / "last.ckpt"), tmp_path, "name")


@pytest.mark.parametrize("logger", ["own", "none"])
def test_a_run_has_one_folder_whatever_logs_it(workplace, logger):
    """Loggers of one's own write where they are told to; settings, weights and table stay together."""
    own = ["--trainer.logger.class_path", "CSVLogger", "--trainer.logger.init_args.save_dir", "elsewhere"]
    callbacks = "[UpdateProgressBar, {class_path: FinalSummary, init_args: {episodes: 2, cloning: false}}]"
    logging = own if logger == "own" else ["--trainer.logger", "false"]
    folder = workplace.fit("--checkpoint.monitor", "null", "--trainer.callbacks", callbacks, *logging)
    shown = workplace.shown()
    assert {"config.yaml", "run.json", "summary.json", "checkpoints"} <= {each.name for each in folder.iterdir()}
    assert f"run folder:       {folder.relative_to(workplace.folder)}" in shown
    assert f" -> {folder.relative_to(workplace.folder)}: " in shown
    logged = list(workplace.folder.glob("elsewhere/**/metrics.csv"))
    assert len(logged) == (logger == "own")
