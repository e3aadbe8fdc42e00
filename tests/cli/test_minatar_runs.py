"""MinAtar's configurations by the commands: an expert, its episodes, and a policy that imitates them."""

import pytest

from iqlightning.checkpoints import load_policy
from iqlightning.data.demonstrations import load_demonstrations

FEW = ("--trainer.callbacks", "[]", "--trainer.max_steps", "4", "--trainer.accelerator", "cpu")


def fit(workplace, config, *arguments):
    return workplace.fit(*FEW, *arguments, config=config) / "checkpoints" / "last.ckpt"


@pytest.fixture(autouse=True)
def _minatar():
    pytest.importorskip("minatar", reason="the extra minatar is not installed")


# ten planes beside ten rows and columns, which no shape tells apart, and the fewest planes
@pytest.mark.parametrize(("game", "planes"), [("Seaquest", 10), ("Breakout", 4)])
def test_from_rewards_to_an_expert_and_to_its_imitation(workplace, game, planes):
    own = f"MinAtar/{game}-v1"
    expert = fit(workplace, "configs/minatar_dqn.yaml", "--data.env.id", own, "--data.warmup_steps", "64")
    assert load_policy(expert).agent.spaces.observation_shape == (planes, 10, 10)
    file = f"MinAtar-{game}-v1.safetensors"
    assert workplace.run("collect", "--policy", str(expert), "--episodes", "20", "--output", file) == 0
    played, metadata = load_demonstrations(workplace.folder / file)
    assert (played.num_episodes, metadata["env"]["id"]) == (20, own)
    assert metadata["env"]["wrappers"] == ["minatar"]
    imitation = fit(workplace, "configs/minatar_iq.yaml", "--data.path", file)
    assert workplace.run("evaluate", str(imitation), "--episodes", "2") == 0, workplace.shown()
