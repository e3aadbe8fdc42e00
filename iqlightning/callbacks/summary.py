"""What a run amounts to, once it is over: a table of policies on unseen episodes, and where everything was written."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.learner import Learner
from iqlightning.callbacks.best_and_last import run_folder
from iqlightning.callbacks.board_layout import BoardLayout
from iqlightning.callbacks.cloning_baseline import ClonedPolicy, clone
from iqlightning.callbacks.stop_on_signal import short_path
from iqlightning.checkpoints import load_policy
from iqlightning.data.imitation_data import ImitationData
from iqlightning.errors import UserError
from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.evaluation.tables import interval_key, intervals_of, policies_table
from iqlightning.files import write_atomically
from iqlightning.types import EnvConfig, Policy

__all__ = ["FinalSummary"]

Advance = Callable[[int], None]
Row = dict[str, Any]


class FinalSummary(Callback):
    """After ``fit``: plays the best checkpoint beside the policies it should be compared with, and prints a table.

    Rows: the run's algorithm, greedy and sampled; behaviour cloning with the same network, batches and number of
    updates, at the temperature that suits it best on held-out demonstrations; the random policy; whatever else the
    environment names, such as an expert. Episodes are of the test split. The table is also written to ``summary.json``
    in the run's folder, row by row, so that an interruption loses nothing; the run itself is on disk before the first
    episode. With several processes the first one does it all.

    Args:
        episodes: for each row; 0 plays nothing and only says where things are.
        seed: of the episodes.
        cloning: whether to train the cloning baseline.
        cloning_temperatures: of softmax(Q / temperature), each trained; see
            :func:`~iqlightning.callbacks.cloning_baseline.clone`. Actors have none.

    Raises:
        UserError: if a temperature is not positive, or there is none.
    """

    def __init__(
        self,
        episodes: int = 1000,
        seed: int = 0,
        cloning: bool = True,
        cloning_temperatures: Sequence[float] = (1.0, 0.1, 0.01),
    ) -> None:
        super().__init__()
        self.episodes = episodes
        self.seed = seed
        self.cloning = cloning
        if not cloning_temperatures or min(cloning_temperatures) <= 0:
            raise UserError(f"cloning_temperatures are positive numbers, at least one, not {cloning_temperatures}")
        self.cloning_temperatures = tuple(cloning_temperatures)
        self.console = Console()
        self._cloned: ClonedPolicy | None = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays, prints and writes."""
        folder = run_folder(trainer)  # asks all processes, so it must come before the first one goes on alone
        if not trainer.is_global_zero or trainer.fast_dev_run or trainer.global_step == 0:  # type: ignore[attr-defined]
            return
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        target = folder / "summary.json" if folder else None
        rows: list[Row] = []
        try:
            if self.episodes:
                for row in self._rows(trainer, pl_module, env):
                    rows.append(row)
                    if target is not None:
                        document = json.dumps(self._document(trainer, pl_module, env, rows), indent=2)
                        write_atomically(target, document.encode() + b"\n", what="summary")
        finally:
            # an interruption ends here as well, with the rows there are
            if rows:
                title = env.describe(self.episodes, brief=True)
                self.console.print(policies_table(title, env.FIGURES, rows, self.episodes))
                self.console.print(Text(f"{type(pl_module).__name__}: {_played(trainer)}"))
                if self._cloned is not None:
                    self.console.print(Text(str(self._cloned)))
            self._print_places(trainer, target)

    def cloning_policy(self, trainer: Trainer, pl_module: LightningModule, progress: Advance) -> ClonedPolicy | None:
        """The baseline, trained; None if it is not wanted, the run is one itself, or there are no demonstrations."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not (self.cloning and isinstance(pl_module, Learner) and isinstance(data, ImitationData)):
            return None
        if isinstance(pl_module, BehaviorCloning):
            return None
        temperatures, processes = self.cloning_temperatures, trainer.world_size
        return clone(pl_module, data, trainer.global_step, temperatures, world_size=processes, progress=progress)

    def _rows(self, trainer: Trainer, pl_module: LightningModule, env: EnvConfig) -> Iterator[Row]:
        best = _best_checkpoint(trainer)
        policy: Any = load_policy(best, device=pl_module.device) if best else pl_module.policy
        name = type(pl_module).__name__
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        ) as progress:
            task = progress.add_task("")

            def begin(what: str, total: int) -> Advance:
                progress.reset(task, total=total, description=what)
                return lambda count: progress.advance(task, count)

            def play(label: str, policy: Policy, *, sample: bool = False) -> Row:
                advance = begin(f"playing {label}", self.episodes)
                return self._play(label, policy, env, sample, pl_module, advance)

            yield play(f"{name}, greedy", policy)
            yield play(f"{name}, sampled", policy, sample=True)
            advance = begin("training behaviour cloning", trainer.global_step * len(self.cloning_temperatures))
            self._cloned = self.cloning_policy(trainer, pl_module, advance)
            if self._cloned is not None:
                yield play("behaviour cloning, greedy", self._cloned.policy)
            references = {"random policy": RandomPolicy(env.spaces, self.seed)} | env.references(self.seed)
            for label, reference in references.items():
                yield play(label, reference)

    def _play(
        self, label: str, policy: Policy, env: EnvConfig, sample: bool, pl_module: LightningModule, advance: Advance
    ) -> Row:
        options: dict[str, Any] = {"sample": sample, "device": pl_module.device, "progress": advance}
        results = evaluate_environment(policy, env, self.episodes, self.seed, **options)
        intervals = {interval_key(figure.name) for figure in env.FIGURES if figure.beside == "interval"}
        shown = {name: ends for name, ends in intervals_of(results).items() if name in intervals}
        return {"policy": label} | results.metrics() | shown

    def _document(
        self, trainer: Trainer, pl_module: LightningModule, env: EnvConfig, rows: list[Row]
    ) -> dict[str, Any]:
        return {
            "algorithm": type(pl_module).__name__,
            "updates": trainer.global_step,
            "checkpoint": _best_checkpoint(trainer),
            "env": env.to_dict(),
            "episodes": self.episodes,
            "seed": self.seed,
            **({} if self._cloned is None else {"cloning": self._cloned.to_dict()}),
            "rows": rows,
        }

    def _print_places(self, trainer: Trainer, target: Path | None) -> None:
        last = [callback.last_model_path for callback in _checkpoint_callbacks(trainer)]
        places = {
            "run folder": target.parent if target else None,
            "best checkpoint": _best_checkpoint(trainer),
            "last checkpoint": next((path for path in last if path), None),
            "this table": target if target and target.exists() else None,
        }
        for label, path in places.items():
            if path:
                self.console.print(Text(f"{label + ':':<17} {short_path(path)}"), soft_wrap=True)
        if trainer.loggers and trainer.loggers[0].save_dir:
            logs = shlex.quote(short_path(trainer.loggers[0].save_dir))
            # as a comment, so that the whole line can be copied
            arranged = any(isinstance(each, BoardLayout) for each in trainer.callbacks)  # type: ignore[attr-defined]
            tab = "  # tab Custom Scalars" if arranged else ""
            self.console.print(Text(f"{'look at it with:':<17} tensorboard --logdir {logs}{tab}"), soft_wrap=True)


def _checkpoint_callbacks(trainer: Trainer) -> list[Any]:
    return [callback for callback in trainer.checkpoint_callbacks if hasattr(callback, "best_model_path")]


def _played(trainer: Trainer) -> str:
    """Which weights the table is of, and what chose them."""
    monitors = [each.monitor for each in _checkpoint_callbacks(trainer) if each.monitor and each.best_model_path]
    return f"the best checkpoint by {monitors[0]}" if monitors else "the last weights; nothing was chosen"


def _best_checkpoint(trainer: Trainer) -> str | None:
    """The best file by a monitored figure; without one, the newest."""
    callbacks = sorted(_checkpoint_callbacks(trainer), key=lambda callback: callback.monitor is None)
    paths = [path for callback in callbacks for path in (callback.best_model_path, callback.last_model_path)]
    return next((path for path in paths if path and Path(path).exists()), None)
