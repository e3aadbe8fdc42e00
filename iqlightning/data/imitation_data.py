"""The datamodule of imitation: expert transitions and initial states, optionally the policy's own transitions."""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from iqlightning.data.augment import GaussianNoise, RandomShift, symmetry_of
from iqlightning.data.collect import demonstrations_path, ensure_demonstrations
from iqlightning.data.demonstrations import digest_of, environment_of, load_demonstrations, read_metadata
from iqlightning.data.experience import (
    Experience,
    OnlineReplay,
    check_same_spaces,
    explore,
    own_environments,
    own_share,
)
from iqlightning.data.expert_source import ExpertSource, keep_every
from iqlightning.data.held_out import HeldOutLoader, split_episodes
from iqlightning.data.index_stream import IndexStream, check_batch_size
from iqlightning.data.placement import Placement
from iqlightning.data.unchanged_file import UnchangedFile, checking_bar
from iqlightning.data.updates import EmptyBatchLoader, UpdateLoader, require_trainer
from iqlightning.data.validation import check_fits
from iqlightning.envs.dynamics.imagination import Imagination
from iqlightning.errors import UserError
from iqlightning.files import path_of
from iqlightning.keyed import Stream
from iqlightning.registration import env_config_from_dict
from iqlightning.spaces import observation_high
from iqlightning.types import Augmentation, Batch, BatchEnv, EnvConfig, Trajectories, Transition

__all__ = ["ImitationData"]

# The study's number of demonstrations.
_DEFAULT_EPISODES = 450

# How often each transition may come in a batch on average: 13 of them, of one thinned demonstration, fill one of 256.
_MOST_REPEATED = 32

# Bytes of a file from which on observations are not loaded unless asked for.
_LARGE = 1 << 30

# Transitions that are looked at to see what numbers observations hold.
_LOOKED_AT = 2048

# Numbers of the states that mean and deviation are taken from, at most.
_STANDARDISED_BY = 1 << 25


class ImitationData(LightningDataModule):
    """Demonstrations on the training device, served as ``{"expert", "initial"}`` and, online, also ``"policy"``.

    Without a ``path`` the environment's own expert demonstrates, once; what it did is kept in ``directory``.
    Recorded rewards stay behind. The batches of update u depend on ``seed`` and ``batch_size`` only, neither on
    ``updates_per_step``, nor on the number of processes, nor on when a run was resumed.

    Batches are drawn with replacement, each transition as likely as any other. There may therefore be fewer transitions
    than a batch has, as of one demonstration of which every 20th is used: of K transitions each comes batch_size / K
    times in a batch on average, the share of them that a batch misses is (1 - 1 / K)^batch_size, and its noise is that
    of the draw. Where each would come more often than 32 times, the batch size is taken for a mistake.

    Args:
        env: the environment; None means that of the file at ``path``.
        path: a demonstrations file.
        directory: where demonstrations are kept that had to be made.
        episodes: demonstrations to use: the first of the file (None: all), or how many to make (None: 450).
        demonstrations_seed: of the demonstrations to make; apart from ``seed``, so that runs can share them.
        batch_size: transitions of a batch, over all processes together.
        per_episode: transitions of one episode that come together in a batch; each is still uniform over all.
        stride: every how many moves of an episode one is used, from a random phase on.
        validation_fraction: share of the episodes that is held out.
        noise_std: standard deviation of Gaussian noise on training states; the study used 0.01.
        symmetries: whether training states are replaced by their images under a random symmetry of the environment,
            actions with them: on grids turned and mirrored, on CartPole, Acrobot, LunarLander and what a
            player of MiniGrid sees left and right exchanged.
        random_shift: pixels by which pictures are shifted at most, 4 for pictures of 84 x 84; see
            :class:`~iqlightning.data.augment.RandomShift`.
        out_of_core: whether observations stay in the file, which is mapped into memory, so that demonstrations may be
            larger than memory; the batches are the same. ``auto``: from a file of 1 GB on.
        online: collects the policy's own transitions as well; None is offline learning.
        imagined: has those transitions played in a model of the dynamics that is fitted to the demonstrations, so that
            learning stays offline: the environment is never stepped. Needs ``online``, for how much is played.
        updates_per_epoch: updates of an epoch, after which Lightning validates.
        updates_per_step: updates of one ``training_step``; does not change results.
        seed: of everything drawn here but the demonstrations.

    Attributes:
        env: the environment.
        training_env: the one whose demonstrations are served; another one during a curriculum.

    Raises:
        UserError: if a value is out of range, a file is missing or damaged, or demonstrations do not fit.
    """

    def __init__(
        self,
        env: EnvConfig | None = None,
        path: str | None = None,
        directory: str = "data",
        episodes: int | None = None,
        demonstrations_seed: int = 0,
        batch_size: int = 64,
        per_episode: int = 1,
        stride: int = 1,
        validation_fraction: float = 0.1,
        noise_std: float = 0.0,
        symmetries: bool = False,
        random_shift: int = 0,
        out_of_core: Literal["auto"] | bool = "auto",
        online: OnlineReplay | None = None,
        imagined: Imagination | None = None,
        updates_per_epoch: int = 100,
        updates_per_step: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if env is None:
            if path is None:
                raise UserError(
                    "ImitationData needs an environment: say with data.env which, or with data.path where its "
                    "demonstrations are"
                )
            env = _env_of_file(path)
        for name, value in (("stride", stride), ("episodes", 1 if episodes is None else episodes)):
            if value < 1:
                raise UserError(f"data.{name} must be at least 1, but is {value}")
        check_batch_size(batch_size, 1, per_episode)
        if imagined is not None and online is None:
            raise UserError("data.imagined says where the policy plays; say with data.online how much it plays")
        split_episodes(2, min(validation_fraction, 0.5), seed)  # the range; whether it fits is seen with the file
        self.env: EnvConfig = env
        self.training_env: EnvConfig = env
        self.path = None if path is None else str(path_of(path))
        self.directory = str(path_of(directory))
        self.episodes = episodes
        self.demonstrations_seed = demonstrations_seed
        self.batch_size = batch_size
        self.per_episode = per_episode
        self.stride = stride
        self.validation_fraction = validation_fraction
        self.noise_std = noise_std
        self.symmetries = symmetries
        self.random_shift = random_shift
        self.out_of_core = out_of_core
        self.online = online
        self.imagined = imagined
        self.updates_per_epoch = updates_per_epoch
        self.updates_per_step = updates_per_step
        self.seed = seed
        self._augmentations = self._make_augmentations(torch.device("cpu"))  # complains early
        self._training: Trajectories | None = None
        self._held_out: Trajectories | None = None
        self._experience: Experience | None = None
        self._source: ExpertSource | None = None
        self._digest = ""
        self._whole_episodes = True
        self._file: UnchangedFile | None = None

    # What is served

    @property
    def source(self) -> ExpertSource:
        """Serves the batch of any update; there is one once ``setup("fit")`` has been called."""
        if self._source is None:
            raise UserError("ImitationData has no batches yet: call prepare_data() and setup('fit') first")
        return self._source

    @property
    def training(self) -> Trajectories:
        """The episodes that are trained on, all their transitions and rewards, on the training device."""
        if self._training is None:
            raise UserError("ImitationData has no demonstrations yet: call prepare_data() and setup('fit') first")
        return self._training

    @property
    def held_out(self) -> Trajectories | None:
        """The episodes that are held out; None if there are none."""
        return self._held_out

    @property
    def in_brief(self) -> str:
        """What is learnt from, in a few words."""
        number = sum(each.num_episodes for each in (self.training, self.held_out) if each is not None)
        played = "" if self.online is None else " and moves of its own"
        return f"{number:,} demonstration{'' if number == 1 else 's'} of {self.training_env.name}{played}"

    @property
    def demonstrations_file(self) -> str:
        """The file in use."""
        if self.path is not None:
            return self.path
        episodes = self.episodes or _DEFAULT_EPISODES
        return str(demonstrations_path(self.env, episodes, self.demonstrations_seed, self.directory))

    def batch(self, update: int) -> Batch:
        """The batch of update ``update``, from 0."""
        if self._file is not None:
            self._file.require_unchanged()
        batch = self.source.batch(update)
        if not self._whole_episodes:  # what an episode begins with is then no initial state
            batch.pop("initial", None)
        return batch

    def change_training_env(self, env: EnvConfig) -> None:
        """Trains on demonstrations of another environment from now on, made by the expert if need be.

        What is held out stays, as does what the policy has played itself.

        Raises:
            UserError: if demonstrations come from a file, observations are of another shape, or actions are others.
        """
        if self.path is not None:
            raise UserError(
                f"the demonstrations come from the file '{self.path}' and cannot change during training; leave out "
                "data.path and the expert makes them, or leave out the curriculum"
            )
        check_same_spaces(env, self.env)
        if env == self.training_env:
            return
        placement = Placement.of(self.trainer)
        episodes = self.episodes or _DEFAULT_EPISODES
        path = ensure_demonstrations(env, episodes, self.demonstrations_seed, self.directory)
        self.training_env = env
        self._training, _ = self._load(str(path), placement.device)
        self._serve(placement)

    # Lightning's hooks

    def prepare_data(self) -> None:
        """Makes the demonstrations if need be, on one process."""
        if self.path is None:
            episodes = self.episodes or _DEFAULT_EPISODES
            ensure_demonstrations(self.env, episodes, self.demonstrations_seed, self.directory)

    def setup(self, stage: str) -> None:
        """Loads, checks and splits the demonstrations; for fitting also what serves them."""
        if stage == "test":
            return
        placement = Placement.of(self.trainer)
        if self._training is None:
            self._training, self._held_out = self._load(self.demonstrations_file, placement.device)
        if stage == "fit":
            self._serve(placement)

    def train_dataloader(self) -> UpdateLoader:
        """Chunks of updates."""
        trainer = require_trainer(self)
        return UpdateLoader(self, trainer, self.updates_per_epoch, self.updates_per_step)

    def val_dataloader(self) -> HeldOutLoader | EmptyBatchLoader:
        """The held-out transitions; one empty batch if there are none, so that callbacks get their turn."""
        if self._held_out is None:
            return EmptyBatchLoader()
        return HeldOutLoader(self._held_out, self.batch_size, self.seed, Placement.of(self.trainer))

    def test_dataloader(self) -> EmptyBatchLoader:
        """One empty batch: testing plays the environment."""
        return EmptyBatchLoader()

    def predict_dataloader(self) -> HeldOutLoader | EmptyBatchLoader:
        """The held-out transitions."""
        return self.val_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """Which demonstrations are trained on, what the policy has played so far, the environment of a curriculum."""
        state: dict[str, Any] = {} if self._training is None else {"demonstrations": self._digest}
        if self._experience is not None:
            state["experience"] = self._experience.state_dict()
        return state if self.training_env == self.env else state | {"training_env": self.training_env.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`.

        Raises:
            UserError: if it is of a run on other demonstrations.
        """
        if "training_env" in state_dict:
            self.change_training_env(env_config_from_dict(state_dict["training_env"]))
        # only training goes on with them; validating on others is what one may want
        fitting = self._source is not None
        if fitting and state_dict.get("demonstrations", self._digest) != self._digest:
            raise UserError(
                f"the demonstrations in '{self.demonstrations_file}' are not those that the checkpoint was trained on; "
                "give the same ones with data.path, or start a new run without --ckpt_path"
            )
        if self._experience is not None and "experience" in state_dict:
            self._experience.load_state_dict(state_dict["experience"])

    # Building

    def _load(self, path: str, device: torch.device) -> tuple[Trajectories, Trajectories | None]:
        """Training and held-out demonstrations."""
        self._file = UnchangedFile(path) if self._stays_on_disk(path) else None
        if self._file is None:
            trajectories, metadata = load_demonstrations(path)
        else:
            with checking_bar(path) as progress:
                trajectories, metadata = load_demonstrations(path, in_memory=False, progress=progress)
        self._whole_episodes = bool(metadata.get("whole_episodes", True))
        recorded = environment_of(path, metadata)
        difference = "" if recorded is None else self.training_env.differs_from(recorded)
        if difference:
            raise UserError(
                f"the demonstrations in '{path}' are of another environment: {difference}; leave out data.env, which "
                "is then the file's, or set data.env.wrappers"
            )
        check_fits(path, trajectories, self.training_env)
        if self.episodes is not None:
            if trajectories.num_episodes < self.episodes:
                raise UserError(
                    f"data.episodes asks for {self.episodes} demonstrations, but '{path}' has only "
                    f"{trajectories.num_episodes}; valid: 1 to {trajectories.num_episodes}"
                )
            trajectories = trajectories.select(torch.arange(self.episodes))
        training, held_out = split_episodes(trajectories.num_episodes, self.validation_fraction, self.seed)
        kept = trajectories.select(held_out).to(device) if len(held_out) else None
        trained_on = trajectories.select(training)
        self._digest = digest_of(trained_on)
        return trained_on.to(device), kept

    def _stays_on_disk(self, path: str) -> bool:
        if isinstance(self.out_of_core, bool):
            return self.out_of_core
        return Path(path).is_file() and Path(path).stat().st_size >= _LARGE

    def served_observations(self) -> Tensor:
        """(K, *shape) states of what is served, by which an agent may standardise what it sees.

        Those of all transitions, or, where these are more than memory easily takes, of some, spread evenly.
        """
        training, kept = self.training, self._kept()
        numbers = torch.arange(training.num_transitions, device=training.starts.device) if kept is None else kept
        every = -(-len(numbers) * math.prod(training.observation_shape) // _STANDARDISED_BY)
        return training.observations_at(training.locate(numbers[:: max(1, every)])[0])

    def some_observations(self) -> Tensor:
        """(K, *shape) states of at most some thousand transitions, spread evenly: what numbers they hold."""
        count = self.training.num_transitions
        numbers = torch.arange(0, count, max(1, count // _LOOKED_AT), device=self.training.starts.device)
        return self.training.observations_at(self.training.locate(numbers)[0])

    def _kept(self) -> Tensor | None:
        """Indices of the transitions that are served; None for all of them."""
        return None if self.stride == 1 else keep_every(self.training, self.stride, self.seed)

    def _serve(self, placement: Placement) -> None:
        training, kept = self.training, self._kept()
        count = training.num_transitions if kept is None else len(kept)
        if _MOST_REPEATED * count < self.batch_size:
            raise UserError(
                f"{training.num_episodes} training demonstrations of '{self.demonstrations_file}' give {count} "
                f"transitions (stride {self.stride}), so many fewer than batch_size {self.batch_size} that each would "
                f"come more than {_MOST_REPEATED} times in a batch; use more demonstrations or a batch_size of at most "
                f"{_MOST_REPEATED * count}"
            )
        common: dict[str, Any] = {
            "rank": placement.rank,
            "world_size": placement.world_size,
            "device": placement.device,
        }
        if self.online is not None and self._experience is not None:
            self._experience.change_env(self._own_env(self.online, placement, kept))
        elif self.online is not None:
            stream = IndexStream(1, self.batch_size, self.seed, stream=Stream.REPLAY, **common)
            env = self._own_env(self.online, placement, kept)
            self._experience = Experience(env, self._explore, self.online, stream, rewards=False)
        bounds = training.starts if kept is None else torch.searchsorted(kept, training.starts)
        # what an algorithm says it needs; anything else is served everything
        needs = getattr(getattr(self.trainer, "lightning_module", None), "needs", None)
        self._source = ExpertSource(
            training,
            kept,
            IndexStream(
                count,
                self.batch_size,
                self.seed,
                stream=Stream.BATCH,
                per_group=self.per_episode,
                episode_starts=bounds,
                **common,
            ),
            IndexStream(training.num_episodes, self.batch_size, self.seed, stream=Stream.INITIAL, **common),
            self._make_augmentations(placement.device),
            self._experience,
            initial=needs is None or "initial" in needs,
        )

    def _own_env(self, online: OnlineReplay, placement: Placement, kept: Tensor | None) -> BatchEnv:
        if self.imagined is None:
            return own_environments(self.training_env, online.num_envs, self.seed, placement)
        if self.training.shared_rows is not None:
            raise UserError("data.imagined fits a model to demonstrations in memory; set data.out_of_core to false")
        known = self.training.transitions(kept)
        if self.symmetries:
            mirrored = symmetry_of(self.env, placement.device)(
                known, torch.ones_like(known.terminated, dtype=torch.int64)
            )
            known = _joined(known, mirrored)
        share = own_share(online.num_envs, placement)
        return self.imagined.make_batch(known, self.env.spaces, seed=self.seed, **share)

    def _explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        return explore(self.trainer, observations, env_steps, envs)

    def _make_augmentations(self, device: torch.device) -> list[tuple[Stream, Augmentation]]:
        augmentations: list[tuple[Stream, Augmentation]] = []
        if self.symmetries:
            augmentations.append((Stream.SYMMETRY, symmetry_of(self.env, device)))
        if self.random_shift:
            augmentations.append((Stream.SHIFT, RandomShift(self.env.observation_shape, self.random_shift)))
        if self.noise_std != 0.0:
            augmentations.append(
                (Stream.NOISE, GaussianNoise(self.noise_std, observation_high(self.env.spaces.observation)))
            )
        return augmentations


def _joined(one: Transition, other: Transition) -> Transition:
    """Both, without rewards."""
    parts = (torch.cat(pair) for pair in zip(one[:5], other[:5], strict=True))
    return Transition(*parts)


def _env_of_file(path: str) -> EnvConfig:
    env = environment_of(path, read_metadata(path))
    if env is None:
        raise UserError(f"the demonstrations file '{path}' does not say which environment it is of; give data.env")
    return env
