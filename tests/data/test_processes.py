"""Two real processes are served, together, what one is served alone."""

import socket

import pytest
import torch
from explorer import Explorer, are_rows
from small_runs import quiet_trainer
from torch.multiprocessing.spawn import spawn

from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.gridworld.config import GridWorldConfig


def run(rank: int, processes: int, port: int, folder: str) -> None:
    """Trains for 12 updates as process ``rank`` and keeps what it was served in a file."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as environment:
        settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank}
        for name, value in {**settings, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": processes, "GROUP_RANK": 0}.items():
            environment.setenv(name, str(value))
        if processes > 1:
            environment.setenv("TORCHELASTIC_RUN_ID", "test")
        data = ImitationData(
            GridWorldConfig(height=5, width=5, num_walls=3),
            directory=folder,
            episodes=30,
            batch_size=24,
            symmetries=True,
            noise_std=0.01,
            per_episode=2,
            validation_fraction=0.2,
            online=OnlineReplay(num_envs=4, capacity=64, warmup_steps=10, steps_per_update=1.5),
            updates_per_epoch=5,
            updates_per_step=2,
        )
        trainer = quiet_trainer(max_steps=12, devices=processes, strategy="ddp" if processes > 1 else "auto")
        module = Explorer()
        trainer.fit(module, datamodule=data)
        held_out = [batch["expert"].actions for batch in data.val_dataloader() if "expert" in batch]
        # plain tuples, so that they are read back as data and not as a program
        served = {
            update: {name: tuple(part) if isinstance(part, tuple) else part for name, part in batch.items()}
            for update, batch in module.served.items()
        }
        torch.save({"served": served, "held_out": held_out}, f"{folder}/{processes}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_are_served_what_one_is(tmp_path):
    run(0, 1, 0, str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(run, args=(2, port, str(tmp_path)), nprocs=2)
    alone, *parts = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    assert list(alone["served"]) == list(parts[0]["served"]) == list(parts[1]["served"]) == list(range(12))
    places = torch.arange(24)
    for update, batch in alone["served"].items():
        for rank, part in enumerate(parts):
            mine = part["served"][update]
            pairs = places.view(-1, 2)[rank::2].flatten()
            for name, own in (("expert", pairs), ("policy", places[rank::2])):
                assert are_rows(mine[name], batch[name], own)
            assert torch.equal(mine["initial"], batch["initial"][rank::2])
    first, second = (torch.cat(part["held_out"]) for part in parts)
    everything = torch.cat(alone["held_out"])
    assert torch.equal(first, everything[0::2])
    assert torch.equal(second, everything[1::2])
    assert len(parts[0]["held_out"]) == len(parts[1]["held_out"])  # batches, so that no process waits for another
