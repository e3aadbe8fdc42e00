import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import demonstrations, learner, trainer

from iqlightning.callbacks.stability_monitor import StabilityMonitor
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.data.experience import OnlineReplay
from iqlightning.errors import UserError
from iqlightning.evaluation.stability import Reading
from iqlightning.losses.divergences import Chi2Mixture


def test_reads_held_out_demonstrations_at_every_validation(tmp_path):
    monitor = StabilityMonitor()
    run = trainer(tmp_path, [monitor])
    run.fit(learner(), demonstrations(tmp_path))
    assert len(monitor.history) == 2
    assert {"stability/residual", "stability/v", "stability/gap", "stability/warnings"} <= set(run.callback_metrics)
    assert run.callback_metrics["stability/warnings"] == 0


def test_complains_once_in_a_sentence(tmp_path):
    monitor = StabilityMonitor(patience=2, factor=2.0)
    calm = Reading(1e-9, 1e-9, 0.1, -1e-9, 1e-9, 1.0, -0.1)
    monitor.history = [calm] * 3 + [calm._replace(log_likelihood=-9.0)] * 3
    with pytest.warns(UserWarning, match="held-out log-likelihood") as seen:
        trainer(tmp_path, [monitor]).fit(learner(), demonstrations(tmp_path))
    assert sum("log-likelihood" in str(one.message) for one in seen) == 1
    assert "likelihood" in monitor.complaints


def test_a_learning_rate_far_too_high_is_complained_about(tmp_path):
    def hasty(parameters):
        return torch.optim.Adam(parameters, lr=10.0)

    monitor = StabilityMonitor()
    with pytest.warns(UserWarning, match="lower learning rate"):
        trainer(tmp_path, [monitor], max_steps=50).fit(learner(optimizer=hasty), demonstrations(tmp_path))
    assert "likelihood" in monitor.complaints


def test_q_beyond_its_bound_is_complained_about_once_without_held_out_demonstrations(tmp_path):
    replay = OnlineReplay(num_envs=4, capacity=100, warmup_steps=20)
    data = demonstrations(tmp_path, online=replay, validation_fraction=0.0)
    monitor = StabilityMonitor()
    run = trainer(tmp_path, [monitor])
    with pytest.warns(UserWarning, match=r"times the .* that the penalty allows") as seen:
        run.fit(learner(divergence=Chi2Mixture(1e-6)), data)
    assert sum("penalty allows" in str(one.message) for one in seen) == 1
    assert set(monitor.complaints) == {"q_bound"}
    assert len(monitor.training) == 2
    figures = {name: float(value) for name, value in run.callback_metrics.items()}
    assert figures["train/q_share"] > 1
    assert figures["train/q_gap"] == pytest.approx(figures["train/q"] - figures["train/policy_q"], abs=1e-6)
    assert figures["stability/warnings"] == 1


def test_the_history_survives_a_checkpoint():
    before, after = StabilityMonitor(), StabilityMonitor()
    before.history, before.complaints = [Reading(*map(float, range(7)))] * 2, {"v": "sentence"}
    before.training = [{"q_share": 0.5}]
    after.load_state_dict(before.state_dict())
    assert after.history == before.history
    assert after.training == before.training
    assert after.complaints == before.complaints


def test_weights_that_are_no_numbers_stop_the_run_and_leave_the_last_checkpoint(tmp_path):
    keep = ModelCheckpoint(dirpath=str(tmp_path / "kept"), filename="one", save_last=True, every_n_epochs=1)
    model = learner(log_every=1000)

    class Spoil(StabilityMonitor):
        def on_validation_start(self, trainer, pl_module):
            if trainer.global_step == 20:
                with torch.no_grad():
                    next(model.agent.network.parameters()).fill_(math.nan)

    with pytest.raises(UserError, match=r"the weights agent\.network\.\S+ are not finite"):
        trainer(tmp_path, [Spoil(), keep]).fit(model, demonstrations(tmp_path))
    kept = read_checkpoint(tmp_path / "kept" / "last.ckpt")
    assert kept["global_step"] == 10
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
