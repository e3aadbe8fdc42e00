import csv
import json
from pathlib import Path

import gymnasium
import pytest

from iqlightning.data.arrays import from_arrays

CONFIGS = Path(__file__).parents[2] / "configs"
# Continuous tasks clone with the run's own actor, so that there is no temperature which could make the bar too low.
CLONING = sorted(
    name
    for name in (path.name.removesuffix("_bc.yaml") for path in CONFIGS.glob("*_bc.yaml"))
    if "base: continuous.yaml" not in (CONFIGS / f"{name}_iq.yaml").read_text()
)

SHORT = """
base: {name}.yaml
data: {{episodes: 100, updates_per_epoch: 50, validation_fraction: 0.2}}
trainer:
  max_steps: 50
  callbacks:
    - {{class_path: FinalSummary, init_args: {{episodes: 1}}}}
checkpoint: {{monitor: null}}
"""


def record_cartpole() -> None:
    """Episodes of pushing towards the side to which the pole falls."""
    env, states, moves = gymnasium.make("CartPole-v1"), [], []
    for episode in range(100):
        obs, _ = env.reset(seed=episode)
        states.append([obs])
        moves.append([])
        over = False
        while not over:
            moves[-1].append(int(obs[2] + obs[3] > 0))
            obs, _, terminated, truncated, _ = env.step(moves[-1][-1])
            states[-1].append(obs)
            over = terminated or truncated
    from_arrays(states, moves, env="CartPole-v1", output="data/CartPole-v1.safetensors")


def run(workplace, name: str) -> Path:
    workplace.write(f"short_{name}.yaml", SHORT.format(name=name))
    return workplace.fit(config=f"short_{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("network", CLONING)
def test_the_bar_is_no_lower_than_the_configuration_that_clones(workplace, network):
    """On held-out demonstrations, of which both are given the same, as they are of the others."""
    if network == "cartpole":
        record_cartpole()
    cloning = json.loads((run(workplace, f"{network}_iq") / "summary.json").read_text())["cloning"]
    bar = cloning["held_out_log_likelihood"][str(cloning["temperature"])]
    with open(run(workplace, f"{network}_bc") / "metrics.csv") as file:
        cloned = [row["val/log_likelihood"] for row in csv.DictReader(file) if row["val/log_likelihood"]][-1]
    assert bar >= float(cloned) - 1e-5
