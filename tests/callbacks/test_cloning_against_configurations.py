import csv
import json
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
# Continuous tasks clone with the run's own actor, so that there is no temperature which could make the bar too low.
CLONING = sorted(
    name
    for name in (path.name.removesuffix("_bc.yaml") for path in CONFIGS.glob("*_bc.yaml"))
    if "base: continuous.yaml" not in (CONFIGS / f"{name}_iq.yaml").read_text()
)

SHORT = """
base: {name}.yaml
data: {{episodes: 100, updates_per_epoch: 50}}
trainer:
  max_steps: 50
  callbacks:
    - {{class_path: FinalSummary, init_args: {{episodes: 1}}}}
checkpoint: {{monitor: null}}
"""


def run(workplace, name: str) -> Path:
    workplace.write(f"short_{name}.yaml", SHORT.format(name=name))
    return workplace.fit(config=f"short_{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("network", CLONING)
def test_the_bar_is_no_lower_than_the_configuration_that_clones(workplace, network):
    """On held-out demonstrations, of which both are given the same, as they are of the others."""
    cloning = json.loads((run(workplace, f"{network}_iq") / "summary.json").read_text())["cloning"]
    bar = cloning["held_out_log_likelihood"][str(cloning["temperature"])]
    with open(run(workplace, f"{network}_bc") / "metrics.csv") as file:
        cloned = [row["val/log_likelihood"] for row in csv.DictReader(file) if row["val/log_likelihood"]][-1]
    assert bar >= float(cloned) - 1e-5
