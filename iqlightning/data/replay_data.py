"""The datamodule of reinforcement learning: the policy's own transitions, with rewards."""

import contextlib
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from iqlightning.data.augment import RandomShift, symmetry_of
from iqlightning.data.experience import Experience, OnlineReplay, check_same_spaces, explore, own_environments
from iqlightning.data.index_stream import IndexStream, check_batch_size
from iqlightning.data.placement import Placement
from iqlightning.data.updates import EmptyBatchLoader, UpdateLoader, require_trainer
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.registration import env_config_from_dict
from iqlightning.rollout import closing
from iqlightning.types import Augmentation, Batch, BatchEnv, EnvConfig

# Moves that are looked at to see what numbers observations hold.
_LOOKED_AT = 100

__all__ = ["ReplayData"]


class ReplayData(LightningDataModule):
    """A replay buffer that the learner fills as it goes, served as ``{"policy": Transition}`` with rewards.

    Transitions are played with ``trainer.lightning_module.explore(observations, env_steps, envs)``; see
    :class:`Experience` for how many and when, and how several processes share environments and transitions out. A
    resumed run, on any number of processes, continues exactly where the environment can be restored.

    Args:
        env: the environment; it must be given.
        num_envs: environments stepped together, over all processes; a multiple of their number.
        capacity: transitions that are remembered, over all processes together.
        batch_size: transitions of a batch, over all processes together.
        warmup_steps: transitions played with random actions before the first update.
        steps_per_update: transitions played for each update; may be fractional.
        n_step: rewards that are summed before the value of the state after them is bootstrapped.
        gamma: discount; the learner's.
        symmetries: whether the transitions of a batch are replaced by their images under a random symmetry of the
            environment, actions with them, so that Q becomes (nearly) symmetric.
        random_shift: pixels by which pictures are shifted at most, see :class:`~iqlightning.data.augment.RandomShift`.
        updates_per_epoch: updates of an epoch, after which Lightning validates.
        updates_per_step: updates of one ``training_step``; does not change results.
        seed: of environments, warm-up and batches.

    Raises:
        UserError: if a value is out of range, or no environment is given.
    """

    def __init__(
        self,
        env: EnvConfig | None = None,
        num_envs: int = 64,
        capacity: int = 50_000,
        batch_size: int = 128,
        warmup_steps: int = 1_000,
        steps_per_update: float = 10.0,
        n_step: int = 1,
        gamma: float = 0.99,
        symmetries: bool = False,
        random_shift: int = 0,
        updates_per_epoch: int = 100,
        updates_per_step: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if env is None:
            raise UserError("ReplayData plays an environment: say with data.env which")
        check_batch_size(batch_size, 1)
        if not 0.0 <= gamma <= 1.0:
            raise UserError(f"gamma must be between 0 and 1, but is {gamma}")
        if n_step < 1 or capacity < n_step * num_envs:
            raise UserError(
                f"data.capacity {capacity} must be at least num_envs {num_envs} x n_step {n_step}, n_step at least 1"
            )
        self.env: EnvConfig = env
        self.training_env = self.env  # the one that is played; another one during a curriculum
        self.replay = OnlineReplay(num_envs, capacity, warmup_steps, steps_per_update)
        self.batch_size = batch_size
        self.n_step = n_step
        self.gamma = gamma
        self.symmetries = symmetries
        self.random_shift = random_shift
        self._augmentations("cpu")  # complains early
        self.updates_per_epoch = updates_per_epoch
        self.updates_per_step = updates_per_step
        self.seed = seed
        self._experience: Experience | None = None

    @property
    def experience(self) -> Experience:
        """What has been played; there is one once ``setup("fit")`` has been called."""
        if self._experience is None:
            raise UserError("ReplayData has played nothing yet: call setup('fit') first")
        return self._experience

    @property
    def in_brief(self) -> str:
        """What is learnt from, in a few words."""
        number = self.replay.num_envs
        return f"moves of its own in {number:,} environment{'' if number == 1 else 's'} {self.training_env.name}"

    def batch(self, update: int) -> Batch:
        """Plays what is due and serves the batch of update ``update``, from 0."""
        return Batch(policy=self.experience.transitions(update))

    def change_training_env(self, env: EnvConfig) -> None:
        """Plays another environment from now on; what has been played stays in the buffer until it is overwritten.

        Raises:
            UserError: if its observations are of another shape, or its actions of another space.
        """
        check_same_spaces(env, self.env)
        if env == self.training_env:
            return
        self.training_env = env
        self.experience.change_env(self._make_env(Placement.of(self.trainer)))

    def some_observations(self) -> Tensor:
        """(K, *shape) observations of random moves in one environment: what numbers they hold."""
        with closing(self.training_env.make_batch(1, seed=self.seed, split="train")) as env:
            seen = [env.reset()]
            with contextlib.suppress(UserError):  # what is wrong with it is told by the run, when it meets it
                for move in range(_LOOKED_AT):
                    actions = env.spaces.random_actions(seen[-1], Stream.PROBE, move, torch.zeros(1).long())
                    seen.append(env.step(actions).obs)
        return torch.cat(seen)

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        """Makes the environments, for fitting only."""
        if stage != "fit":
            return
        placement = Placement.of(self.trainer)
        device, rank, world_size = placement
        env = self._make_env(placement)
        stream = IndexStream(
            1, self.batch_size, self.seed, stream=Stream.REPLAY, rank=rank, world_size=world_size, device=device
        )
        self._experience = Experience(
            env,
            self._explore,
            self.replay,
            stream,
            n_step=self.n_step,
            gamma=self.gamma,
            rewards=True,
            augmentations=self._augmentations(device),
        )

    def train_dataloader(self) -> UpdateLoader:
        """Chunks of updates."""
        trainer = require_trainer(self)
        return UpdateLoader(self, trainer, self.updates_per_epoch, self.updates_per_step)

    def val_dataloader(self) -> EmptyBatchLoader:
        """One empty batch: nothing is held out, but callbacks play the environment."""
        return EmptyBatchLoader()

    def test_dataloader(self) -> EmptyBatchLoader:
        """One empty batch, as for validation."""
        return EmptyBatchLoader()

    def predict_dataloader(self) -> EmptyBatchLoader:
        """One empty batch, as for validation."""
        return EmptyBatchLoader()

    def state_dict(self) -> dict[str, Any]:
        """All that has been played and is remembered, as tensors and primitives."""
        if self._experience is None:
            return {}
        return {"experience": self._experience.state_dict(), "training_env": self.training_env.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        if self._experience is not None and "training_env" in state_dict:
            self.change_training_env(env_config_from_dict(state_dict["training_env"]))
        if self._experience is not None and "experience" in state_dict:
            self._experience.load_state_dict(state_dict["experience"])

    def _augmentations(self, device: str | torch.device) -> list[tuple[Stream, Augmentation]]:
        augmentations: list[tuple[Stream, Augmentation]] = []
        if self.symmetries:
            augmentations.append((Stream.SYMMETRY, symmetry_of(self.env, device)))
        if self.random_shift:
            augmentations.append((Stream.SHIFT, RandomShift(self.env.observation_shape, self.random_shift)))
        return augmentations

    def _make_env(self, placement: Placement) -> BatchEnv:
        return own_environments(self.training_env, self.replay.num_envs, self.seed, placement)

    def _explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        return explore(self.trainer, observations, env_steps, envs)
