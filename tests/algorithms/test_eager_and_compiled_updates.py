"""Eager updates on flat weights against torch's own way, and compiled updates against eager ones."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.updates.compiled import CompiledUpdate
from iqlightning.algorithms.updates.eager import EagerUpdate
from iqlightning.algorithms.updates.flat_weights import FlatWeights, flat_optimizer
from iqlightning.types import Batch


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def objective_of(net: nn.Module):
    def objective(batch):
        batch = batch if isinstance(batch, torch.Tensor) else batch["initial"]
        loss = (net(batch) - batch[:, :2]).square().mean()
        return Objective(loss, {"half": loss / 2}, dict)

    return objective


def batches(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 4, generator=generator) for _ in range(count)]


def plain_weights(build, max_grad_norm) -> torch.Tensor:
    net = network()
    optimizer = build(net.parameters())
    for batch in batches(30):
        optimizer.zero_grad()
        objective_of(net)(batch).loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_grad_norm or float("inf"))
        optimizer.step()
    return torch.cat([each.detach().flatten() for each in net.parameters()])


def update_of(net: nn.Module, build, max_grad_norm) -> EagerUpdate:
    optimizer, flat = flat_optimizer(net, build)
    return EagerUpdate(
        objective_of(net), lambda loss: loss.backward(), optimizer, list(net.parameters()), flat, max_grad_norm
    )


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
    "adam fused": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "adam with decay": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1, betas=(0.8, 0.99), eps=1e-5),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
}


# a norm that every gradient exceeds, and one that none does
@pytest.mark.parametrize("max_grad_norm", [None, 0.05, 1000.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_torch(name, max_grad_norm):
    net = network()
    update = update_of(net, OPTIMIZERS[name], max_grad_norm)
    update.begin()
    for batch in batches(30):
        update(batch, diagnose=False)
    ours = torch.cat([each.detach().flatten() for each in net.parameters()])
    torch.testing.assert_close(ours, plain_weights(OPTIMIZERS[name], max_grad_norm), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def test_hooks_of_an_optimizer_are_called_at_each_step(kind):
    net, calls = network(), []
    eager = update_of(net, OPTIMIZERS["adam"], None)
    eager.optimizer.register_step_post_hook(lambda *_: calls.append(1))
    update = CompiledUpdate(eager, {"net": net}, pytest.fail) if kind == "compiled" else eager
    update.begin()
    for batch in batches(3):
        update(Batch(initial=batch), False)
    assert len(calls) == 3


def test_an_optimizer_that_reads_shapes_keeps_its_parameters():
    net = network()
    optimizer, flat = flat_optimizer(net, OPTIMIZERS["adafactor"])
    assert flat is None
    assert len(optimizer.param_groups[0]["params"]) == 4


def test_parameters_are_windows_and_gradients_find_their_way_back():
    net = network()
    flat = FlatWeights(net)
    with torch.no_grad():
        flat.vector.fill_(2.0)
    assert all(bool((each == 2).all()) for each in net.parameters())
    net.zero_grad()  # drops the gradients
    flat.attach()
    net(torch.ones(1, 4)).sum().backward()
    assert flat.gradient.abs().sum() > 0


# In a program of its own: this test suite wraps functions to check shapes, which cannot be compiled.
PROGRAM = """
    import sys, warnings
    from functools import partial
    import torch
    import lightning
    from iqlightning.algorithms import DQN, BehaviorCloning, IQLearn
    from iqlightning.data.imitation_data import ImitationData
    from iqlightning.data.replay_data import ReplayData
    from iqlightning.gridworld.config import GridWorldConfig
    from iqlightning.losses.values import AnnealedSoftValue
    from iqlightning.gridworld.encoders import GridCNN
    from iqlightning.nets.encoders import MLP

    torch.set_num_threads(1)
    ENV = GridWorldConfig(height=4, width=4, num_walls=2)
    said = []
    warnings.showwarning = lambda message, *rest, **more: said.append(str(message))
    warnings.simplefilter("always")

    def run(kind, steps, compile, encoder=partial(MLP, hidden=(16,)), resume=None, save=None, **options):
        model = kind(encoder, seed=1, compile=compile, log_every=5, **options)
        if kind is DQN:
            data = ReplayData(ENV, num_envs=8, capacity=500, warmup_steps=64, batch_size=16, seed=1, updates_per_step=3)
        else:
            data = ImitationData(ENV, episodes=40, batch_size=16, directory=sys.argv[1], seed=1, updates_per_step=3)
        trainer = lightning.Trainer(
            max_steps=steps, max_epochs=-1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        )
        trainer.fit(model, data, ckpt_path=resume, weights_only=resume is not None)
        assert trainer.global_step == steps
        if save:
            trainer.save_checkpoint(save)
        return torch.cat([each.detach().flatten() for each in model.agent.network.parameters()])

    def complaints():
        found = [each for each in said if each.startswith("compile has no effect")]
        said.clear()
        return found
"""


def run_program(tmp_path, lines: str) -> None:
    program = textwrap.dedent(PROGRAM) + textwrap.dedent(lines)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["IQLearn", "BehaviorCloning", "DQN"])
def test_compiled_updates_are_the_eager_ones_up_to_rounding(tmp_path, kind):
    run_program(
        tmp_path,
        f"""
        eager, compiled = (run({kind}, 20, compile, max_grad_norm=None) for compile in (False, True))
        assert not complaints()
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-5)
        """,
    )


@pytest.mark.slow
def test_a_run_can_be_continued_compiled_or_not(tmp_path):
    run_program(
        tmp_path,
        """
        path = sys.argv[1] + "/half.ckpt"
        run(IQLearn, 10, True, save=path, max_grad_norm=1.0)
        whole = run(IQLearn, 20, False, max_grad_norm=1.0)
        rest = run(IQLearn, 20, False, resume=path, max_grad_norm=1.0)
        again = run(IQLearn, 20, True, resume=path, max_grad_norm=1.0)
        assert not complaints()
        torch.testing.assert_close(rest, whole, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(again, whole, rtol=1e-3, atol=1e-5)
        """,
    )


def test_what_cannot_be_compiled_runs_eagerly_and_says_so_in_one_sentence(tmp_path):
    run_program(
        tmp_path,
        """
        for options in ({"encoder": GridCNN}, {"value": AnnealedSoftValue()}):
            compiled = run(IQLearn, 6, True, **options)
            (sentence,) = complaints()
            assert sentence.count("\\n") == 0, sentence
            assert torch.equal(compiled, run(IQLearn, 6, False, **options))
            assert not complaints()
        """,
    )


def test_without_a_compiler_updates_run_eagerly(tmp_path):
    run_program(
        tmp_path,
        """
        import torch._inductor.config
        torch._inductor.config.cpp.cxx = (None, "no-such-compiler")
        torch._inductor.config.force_disable_caches = True
        compiled = run(IQLearn, 6, True)
        (sentence,) = complaints()
        assert "C++ compiler" in sentence, sentence
        assert torch.equal(compiled, run(IQLearn, 6, False))
        """,
    )
