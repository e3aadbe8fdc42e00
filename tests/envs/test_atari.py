"""Atari: the players that read the console's memory, and pictures that are those of Gymnasium's own preprocessing."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from iqlightning import GymnasiumConfig
from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations
from iqlightning.data.replay import ReplayBuffer
from iqlightning.envs.atari import BreakoutPlayer, PongPlayer
from iqlightning.types import Trajectories

PONG_IN_PICTURES = GymnasiumConfig("ALE/Pong-v5", wrappers=["atari"])


def memory(**places: int) -> np.ndarray:
    """128 bytes, those that are named as ``byte49=100``."""
    values = np.zeros(128, dtype=np.uint8)
    for name, value in places.items():
        values[int(name.removeprefix("byte"))] = value % 256
    return values


def pong(x: int, y: int, *, down: int, paddle: int, towards: bool = True) -> np.ndarray:
    return memory(byte49=x, byte54=y, byte58=-1 if towards else 1, byte56=down, byte51=paddle)


@pytest.mark.parametrize(
    ("seen", "move"),
    [
        (pong(150, 100, down=0, paddle=93), "NOOP"),  # it comes to the paddle's middle
        (pong(150, 100, down=0, paddle=150), "RIGHT"),
        (pong(150, 100, down=0, paddle=60), "LEFT"),
        (pong(150, 100, down=2, paddle=125), "NOOP"),  # 16 frames, 32 down: 132
        (pong(182, 100, down=2, paddle=109), "NOOP"),  # it is there after 8 of them: 116
        (pong(150, 190, down=2, paddle=183), "NOOP"),  # thrown back by the edge at 206: 190
        (pong(150, 100, down=2, paddle=125, towards=False), "NOOP"),
        (pong(150, 100, down=2, paddle=93, towards=False), "LEFT"),
        (memory(byte51=120), "NOOP"),  # no ball
        (memory(byte51=60), "LEFT"),
    ],
)
def test_pongs_paddle_keeps_to_where_the_ball_will_be(seen, move):
    assert PongPlayer()(seen) == move


@pytest.mark.parametrize(("x", "least", "most"), [(150, 3, 15), (180, 0, 0)])
def test_some_of_pongs_moves_are_any_but_not_the_last_ones(x, least, most):
    ways = [pong(x, y, down=0, paddle=y - 7) for y in range(50, 200)]
    moves = [PongPlayer()(seen) for seen in ways]
    assert moves == [PongPlayer()(seen) for seen in ways]
    assert least <= len(moves) - moves.count("NOOP") <= most


@pytest.mark.parametrize(("sticky", "expected"), [(0, 24), (1, 18), (2, 12), (4, 0)])
def test_the_dial_is_known_by_the_paddles_way(sticky, expected):
    """After rest, a press that begins some frames late: the paddle halves its distance every second frame."""
    player, paddle, dial = PongPlayer(), 100.0, 100.0
    assert player(pong(150, 200, down=0, paddle=100)) == "LEFT"
    for frame in range(4):
        dial += 6 * (frame >= sticky)
        paddle += (dial - paddle) / 2 * (frame % 2)
    player(pong(154, 200, down=0, paddle=int(paddle)))
    assert player._dial == pytest.approx(100 + expected)


@pytest.mark.parametrize(
    ("x", "across", "paddle", "move"),
    [
        (100, 0.0, 92, "NOOP"),
        (100, 0.0, 140, "LEFT"),
        (100, 0.0, 60, "RIGHT"),
        (100, 1.5, 182, "NOOP"),  # 60 down, 90 across: 190
        (180, 1.5, 122, "NOOP"),  # thrown back by the wall at 200: 130
    ],
)
def test_breakouts_paddle_goes_to_where_the_ball_will_come(x, across, paddle, move):
    whole, part = divmod(round(-across * 256), 256)
    seen = memory(byte99=x, byte101=120, byte103=1, byte105=whole, byte106=part, byte70=235 - paddle)
    player = BreakoutPlayer()
    assert player(seen) == move
    seen[103] = 255  # it rises
    assert player(seen) == "NOOP"
    seen[101] = 0
    assert player(seen) == "FIRE"


def test_breakouts_paddle_hits_elsewhere_where_no_brick_falls_for_long():
    player, seen = BreakoutPlayer(), memory(byte99=100, byte101=120, byte103=1, byte70=235 - 85)
    moves = [player(seen) for _ in range(450)]
    assert moves == ["NOOP"] * 300 + ["RIGHT"] * 150


@pytest.mark.parametrize(
    ("game", "steps", "figure", "least"), [("Pong", 1200, torch.mean, 1), ("Breakout", 400, torch.min, 10)]
)
def test_they_win(game, steps, figure, least):
    pytest.importorskip("ale_py")
    kwargs = {"obs_type": "ram", "frameskip": 4}
    config = GymnasiumConfig(f"ALE/{game}-v5", kwargs=kwargs, max_episode_steps=steps)
    assert config.expert is not None
    first, again = (next(config.expert.parts(4, 0)) for _ in range(2))
    assert figure(first.returns) >= least
    assert torch.equal(first.actions, again.actions)


def test_there_is_none_of_other_games_and_other_steps():
    pytest.importorskip("ale_py")
    assert GymnasiumConfig("ALE/Asterix-v5").expert is None
    assert GymnasiumConfig("ALE/Pong-v5", kwargs={"frameskip": 3}).expert is None
    assert PONG_IN_PICTURES.expert is not None


def test_a_thousand_frames_are_those_of_gymnasiums_preprocessing(tmp_path):
    """As played, in the replay and in a file."""
    pytest.importorskip("ale_py")
    steps, actions = 1000, torch.randint(0, 6, (1000, 1), generator=torch.Generator().manual_seed(0))
    env: Any = gymnasium.make("ALE/Pong-v5", frameskip=1)
    env = FrameStackObservation(AtariPreprocessing(env, noop_max=30, frame_skip=4), 4)
    theirs, after = [env.reset(seed=5)[0]], []
    ends = []
    for action in actions[:, 0].tolist():
        seen, _, terminated, truncated, _ = env.step(action)
        after.append(seen)
        ends.append(terminated or truncated)
        theirs.append(env.reset()[0] if ends[-1] else seen)
    before, after = torch.from_numpy(np.stack(theirs[:-1])), torch.from_numpy(np.stack(after))
    assert sum(ends) == 1  # the first frames of an episode and its last are among them

    batch = PONG_IN_PICTURES.make_batch(1, seed=5)
    buffer = ReplayBuffer(steps, 1, batch.spaces)
    obs = batch.reset()
    for step, action in enumerate(actions):
        assert torch.equal(obs[0], before[step])
        result = batch.step(action)
        assert torch.equal(result.next_obs[0], after[step])
        buffer.add(obs, action, result)
        obs = result.obs
    sampled = buffer.sample(torch.arange(steps))
    assert torch.equal(sampled.obs, before)
    assert torch.equal(sampled.next_obs, after)

    length = ends.index(True) + 1
    ended = torch.tensor([True])
    observations = torch.cat([before[:length], after[length - 1 : length]])
    starts = torch.tensor([0, length])
    episode = Trajectories(observations, actions[:length, 0], torch.zeros(length), starts, ended, ~ended)
    save_demonstrations(tmp_path / "frames.safetensors", episode, {}, batch.spaces)
    assert (tmp_path / "frames.safetensors").stat().st_size < 1.01 * (length + 4) * 84 * 84
    loaded, _ = load_demonstrations(tmp_path / "frames.safetensors")
    assert torch.equal(loaded.observations_in_order(), observations)


def test_the_configuration_trains(workplace):
    pytest.importorskip("ale_py")
    few = ["--data.episodes", "1", "--data.env.max_episode_steps", "40", "--data.batch_size", "4"]
    short = ["--trainer.max_steps", "2", "--data.updates_per_epoch", "2", "--trainer.callbacks", "[]"]
    config = str(Path(__file__).parents[2] / "configs" / "atari_iq.yaml")
    assert (workplace.fit(*few, *short, config=config) / "checkpoints" / "last.ckpt").exists()
