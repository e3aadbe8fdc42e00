import math

from small_runs import demonstrations, learner, trainer

from iqlightning.gridworld.callbacks.truth_logging import TruthLogging


def test_logs_the_truth_at_validation(tmp_path):
    run = trainer(tmp_path, [TruthLogging(num_grids=3)])
    run.fit(learner(), demonstrations(tmp_path))
    logged = {name: float(value) for name, value in run.callback_metrics.items() if name.startswith("truth/")}
    assert {"truth/reward_pearson", "truth/reward_epic", "truth/policy_agreement", "truth/regret"} <= set(logged)
    assert all(math.isfinite(value) for value in logged.values())
    assert 0 <= logged["truth/policy_agreement"] <= 1
    assert 0 <= logged["truth/occupancy_divergence"] <= 1
