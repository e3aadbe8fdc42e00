"""Two processes at the same global batch learn what one learns: weights and figures, on the command line.

So does a run that one of them begins and the other continues.
"""

import csv
import os
import socket
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from counts import slow
from forked_commands import preload
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.multiprocessing.spawn import start_processes

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.cli.main import main

UPDATES = 200
CLOSE = 1e-12

_MLP = "encoder: {class_path: MLP, init_args: {hidden: [16]}}"
_IQ = "class_path: IQLearn, init_args: {" + _MLP + ", "
_ONLINE = "online: {num_envs: 6, capacity: 600, warmup_steps: 30, steps_per_update: 1.5}"
_REPLAY = "num_envs: 6, capacity: 600, warmup_steps: 60"

#: Name to (model, data beyond what all have).
LEARNERS = {
    "chi2": ("{" + _IQ + "divergence: Chi2}}", "ImitationData", ""),
    "total_variation": (
        "{" + _IQ + "divergence: TotalVariation, value_term: InitialStates, value: {class_path: SoftValue}}}",
        "ImitationData",
        "symmetries: true, noise_std: 0.01",
    ),
    "hellinger": ("{" + _IQ + "divergence: Hellinger, max_grad_norm: 0.5}}", "ImitationData", "per_episode: 3"),
    "target": (
        "{"
        + _IQ
        + "target: {class_path: TargetUpdate, init_args: {every: 7, rate: 0.5}}, schedule: {class_path: Cosine},"
        " value: {class_path: AnnealedSoftValue, init_args: {updates: 100}}}}",
        "ImitationData",
        "stride: 2",
    ),
    "twins": ("{" + _IQ + "divergence: JensenShannon, copies: 2, absorbing_states: true}}", "ImitationData", ""),
    "online": (
        "{" + _IQ + "divergence: Chi2Mixture, value_term: ExpertAndPolicyStates}}",
        "ImitationData",
        _ONLINE,
    ),
    "cloning": (
        "{class_path: BehaviorCloning, init_args: {" + _MLP + "}}",
        "ImitationData",
        "validation_fraction: 0.23",
    ),
    "ls_iq": ("{class_path: LSIQ, init_args: {" + _MLP + "}}", "ImitationData", _ONLINE),
    "dqn": ("{class_path: DQN, init_args: {" + _MLP + ", epsilon_steps: 200}}", "ReplayData", _REPLAY),
    "dueling": (
        "{class_path: DQN, init_args: {" + _MLP + ", head: DuelingHead, double_q: false}}",
        "ReplayData",
        _REPLAY + ", n_step: 3",
    ),
    "munchausen": (
        "{class_path: DQN, init_args: {" + _MLP + ", munchausen: {class_path: Munchausen}}}",
        "ReplayData",
        _REPLAY + ", symmetries: true",
    ),
}

_FILE = """
    model: {model}
    data:
      class_path: {data}
      init_args:
        env: {{class_path: GridWorldConfig, init_args: {{height: 4, width: 4, num_walls: 2}}}}
        batch_size: 24
        updates_per_epoch: {epoch}
        updates_per_step: 7
    trainer:
      accelerator: cpu
      precision: 64-true
      max_steps: {updates}
      callbacks: [{{class_path: PolicyEvaluation, init_args: {{episodes: 31, test_episodes: 10}}}}]
"""


def write(folder: Path, name: str, updates: int) -> None:
    model, data, more = LEARNERS[name]
    text = textwrap.dedent(_FILE).format(model=model, data=data, updates=updates, epoch=updates // 2)
    settings = "".join(f"    {each.strip()}\n" for each in _split(more))
    episodes = "    episodes: 60\n" if data == "ImitationData" else ""
    (folder / f"{name}.yaml").write_text(text.replace("    batch_size", f"{episodes}{settings}    batch_size", 1))


def _split(settings: str) -> list[str]:
    """At the commas that are not inside braces."""
    parts, depth = [""], 0
    for letter in settings:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def fit_all(rank: int, processes: int, port: int, folder: str, names: list[str], more: list[str]) -> None:
    """Runs ``fit`` with each configuration as process ``rank``, as a launcher such as torchrun would."""
    torch.set_num_threads(1)
    os.chdir(folder)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
    options = list(more)
    if processes > 1:
        options += ["--trainer.devices", str(processes), "--trainer.strategy", "ddp"]
        settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
        settings |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in settings.items()})
        rank_zero_only.__dict__["rank"] = rank  # Lightning reads it from the environment when it is imported
    for name in names:
        status = main(["fit", "--config", f"{name}.yaml", *options])
        if status:
            raise RuntimeError(f"{name} ended with {status}")


def in_processes(processes: int, folder: Path, names: list[str], *more: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    preload()
    arguments = (processes, port, str(folder), names, list(more))
    # of a server that has computed nothing: where a test of this process has, a fork cannot differentiate
    start_processes(fit_all, arguments, nprocs=processes, start_method="forkserver")


def largest_difference(one: Path, two: Path) -> float:
    """Between the weights, optimizer included, of two runs."""
    largest = 0.0
    for part in ("state_dict", "optimizer_states"):
        flat = [dict(_tensors(read_checkpoint(run / "checkpoints" / "last.ckpt")[part])) for run in (one, two)]
        assert flat[0].keys() == flat[1].keys()
        assert flat[0]
        for name, tensor in flat[0].items():
            if tensor.is_floating_point() and tensor.numel():
                largest = max(largest, float((tensor.double() - flat[1][name].double()).abs().max()))
            else:
                assert torch.equal(tensor, flat[1][name]), name
    return largest


def _tensors(value: object, where: str = "") -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(where, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return [found for key, item in items for found in _tensors(item, f"{where}.{key}")]


def figures(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


@pytest.mark.parametrize(("names", "updates"), [(["chi2", "dqn"], 20), *slow((list(LEARNERS), UPDATES))])
def test_two_processes_learn_what_one_does(tmp_path, names, updates):
    assert len(LEARNERS) == 11
    for name in names:
        write(tmp_path, name, updates)
    in_processes(1, tmp_path, names)
    in_processes(2, tmp_path, names)
    for name in names:
        assert {each.name for each in (tmp_path / "logs" / name).iterdir()} == {"version_0", "version_1"}
        one, two = (tmp_path / "logs" / name / f"version_{number}" for number in (0, 1))
        weights = read_checkpoint(two / "checkpoints" / "last.ckpt")
        assert weights["global_step"] == updates
        assert all(each.dtype == torch.float64 for each in weights["state_dict"].values() if each.is_floating_point())
        assert largest_difference(one, two) < CLOSE, name
        same_figures(figures(one), figures(two))


def same_figures(one: list[dict[str, str]], other: list[dict[str, str]]) -> None:
    assert len(one) == len(other) > 2
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for figure, value in first.items():
            if value or second[figure]:
                assert float(value) == pytest.approx(float(second[figure]), rel=1e-9, abs=CLOSE), figure


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (1, 2, ["dueling"]),
        *slow((1, 2, ["hellinger", "online", "dqn", "ls_iq"]), (2, 1, ["hellinger", "online", "dqn", "dueling"])),
    ],
)
def test_a_run_goes_on_exactly_on_another_number_of_processes(tmp_path, before, after, names):
    """``before`` processes begin each run, in the middle of an epoch and of what is logged ``after`` take over."""
    updates, half = 60, 37
    for name in names:
        write(tmp_path, name, updates)
    in_processes(1, tmp_path, names)
    in_processes(before, tmp_path, names, "--trainer.max_steps", str(half))
    in_processes(after, tmp_path, names, "--ckpt_path", "last")
    for name in names:
        whole, begun, resumed = (tmp_path / "logs" / name / f"version_{number}" for number in range(3))
        assert read_checkpoint(begun / "checkpoints" / "last.ckpt")["global_step"] == half
        assert read_checkpoint(resumed / "checkpoints" / "last.ckpt")["global_step"] == updates
        assert largest_difference(whole, resumed) < CLOSE, name
        same_figures([row for row in figures(whole) if int(row["step"]) > half], figures(resumed))
        kept = [read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (whole, resumed)]
        data = LEARNERS[name][1]
        # what was played and is remembered is the same as well, and in the same order
        played = [dict(_tensors(each.get(data, {}))) for each in kept]
        assert played[0] or name == "hellinger"
        assert played[0].keys() == played[1].keys()
        for where, tensor in played[0].items():
            assert torch.equal(tensor, played[1][where]), where
