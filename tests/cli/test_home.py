"""A ``~`` that begins a path is the home folder, wherever it stands."""

import pytest


@pytest.fixture
def home(workplace, monkeypatch):
    folder = workplace.folder / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def files(folder):
    return {each.name for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("where", ["option", "file"])
def test_a_run_is_in_one_folder(workplace, home, where):
    arguments = ["--trainer.default_root_dir=~/runs", "--data.directory=~/data"]
    if where == "file":
        workplace.write("more.yaml", "trainer: {default_root_dir: ~/runs}\ndata: {init_args: {directory: ~/data}}\n")
        arguments = ["--config", "more.yaml"]
    assert workplace.run("fit", "--config", "tiny.yaml", *arguments, "--trainer.max_steps", "1") == 0
    assert not (workplace.folder / "~").exists()
    assert not (workplace.folder / "logs").exists()
    assert {"config.yaml", "last.ckpt", "hparams.yaml"} <= files(home / "runs")
    assert any(name.endswith(".safetensors") for name in files(home / "data"))
    again = ("--config", "tiny.yaml", *arguments, "--trainer.max_steps", "2", "--ckpt_path", "last")
    if where == "option":
        assert workplace.run("fit", *again) == 0, workplace.shown()


def test_a_file_is_written_there(workplace, home):
    small = ("--height=4", "--width=4", "--num_walls=2", "--episodes=2")
    assert workplace.run("collect", *small, "--output=~/out/some.safetensors") == 0
    assert files(workplace.folder / "home") == {"some.safetensors"}
    assert workplace.run("data", "~/out/some.safetensors", "--json=~/some.json") == 0
    assert (home / "some.json").exists()
    assert not (workplace.folder / "~").exists()
