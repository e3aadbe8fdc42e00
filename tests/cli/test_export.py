import re

import pytest
import torch
from continuous_checkpoints import actor_checkpoint

from iqlightning import portable
from iqlightning.checkpoints import load_policy


@pytest.fixture
def checkpoint(workplace):
    return workplace.fit("--trainer.max_steps", "10", "--model.encoder", "GridCNN") / "checkpoints" / "best.ckpt"


def test_files_and_card_land_beside_the_run(workplace, checkpoint):
    assert workplace.run("export", checkpoint, "--format", "torch", "--observations", "50") == 0
    shown = workplace.shown()
    assert "policy.pt2: the same as the policy on 200 observations" in shown
    assert "batch, height, width" in shown
    folder = checkpoint.parent.parent / "export"
    assert {file.name for file in folder.iterdir()} == {"policy.pt2", "weights.safetensors", "README.md"}
    card = (folder / "README.md").read_text()
    assert "BehaviorCloning for gridworld-random_everything-4x4-w2" in card
    assert "episodes: 40" in card
    assert "uint8, shape (batch, 3, height, width)" in card


def test_files_of_others_stay_unless_they_are_to_be_replaced(workplace, checkpoint):
    command = ("export", checkpoint, "--format", "torch", "--observations", "20", "--output", "taken")
    (workplace.folder / "taken").mkdir()
    for name in ("README.md", "weights.safetensors"):
        other = workplace.folder / "taken" / name
        other.write_text("somebody's")
        assert f"'taken/{name}' exists already" in workplace.refused(*command)
        assert [each.name for each in other.parent.iterdir()] == [name]
        if name == "README.md":
            other.unlink()
    assert workplace.run(*command, "--force") == 0, workplace.shown()
    assert other.read_bytes() != b"somebody's"
    assert workplace.run(*command) == 0  # its own files


def test_what_the_card_says_about_loading_works(workplace, checkpoint, onnx, monkeypatch):
    assert workplace.run("export", checkpoint, "--observations", "50", "--output", "taken") == 0
    monkeypatch.chdir(workplace.folder / "taken")
    observations = torch.zeros(2, 3, 5, 6, dtype=torch.uint8)
    observations[:, 1, 2, 3] = observations[:, 2, 0, 0] = 1
    blocks = re.findall(r"```python\n(.*?)```", (workplace.folder / "taken" / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    answers = []
    for block in blocks:
        names = {"observations": observations}
        exec(block, names)
        answers.append(torch.as_tensor(names["q_values"]).detach())
    torch.testing.assert_close(answers[0], answers[2])
    torch.testing.assert_close(answers[1], answers[2])


def test_what_the_card_says_about_loading_an_actor_works(workplace, onnx, monkeypatch):
    checkpoint = actor_checkpoint(workplace.folder / "actor.ckpt")
    assert workplace.run("export", checkpoint, "--observations", "50") == 0, workplace.shown()
    folder = workplace.folder / "actor_export"
    monkeypatch.chdir(folder)
    card = (folder / "README.md").read_text()
    assert "`actions`: float32 (batch, 1), those without noise, from [-2.0] to [2.0]" in card
    assert "SoftActorCritic, an actor and its critics" in card
    observations = torch.randn(6, 3)
    answers = []
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        names = {"observations": observations}
        exec(block, names)
        answers.append(torch.as_tensor(names["actions"]).detach())
    assert len(answers) == 3
    expected = load_policy(checkpoint).act(observations)
    for answer in answers:
        torch.testing.assert_close(answer, expected)


def test_mistakes_are_one_sentence(workplace, monkeypatch):
    assert "there is no checkpoint 'nowhere.ckpt'" in workplace.refused("export", "nowhere.ckpt", "--format", "torch")
    assert "--format" in workplace.refused("export", "x.ckpt", "--format", "tflite")
    checkpoint = str(workplace.fit("--trainer.max_steps", "1") / "checkpoints" / "last.ckpt")
    monkeypatch.setattr(portable, "find_spec", lambda name: None)
    assert "pip install 'iqlightning[export]'" in workplace.refused("export", checkpoint, "--format", "onnx")


def test_without_the_extra_the_rest_is_written_and_that_is_said(workplace, checkpoint, monkeypatch):
    monkeypatch.setattr("iqlightning.portable._ONNX_PACKAGES", ("no_such_onnx",))
    assert workplace.run("export", str(checkpoint), "--output", "here", "--observations", "20") == 0
    assert "without policy.onnx: ONNX needs no_such_onnx" in workplace.shown()
    assert (workplace.folder / "here" / "policy.pt2").is_file()
    assert not (workplace.folder / "here" / "policy.onnx").exists()
    assert "no_such_onnx" in workplace.refused("export", str(checkpoint), "--output", "there", "--format", "all")
