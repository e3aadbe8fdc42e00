"""One page's conversation with the program: every message has exactly one answer, and no answer needs a network."""

from collections.abc import Sequence
from typing import Any

import torch

from iqlightning.errors import UserError
from iqlightning.gridworld.config import SIZES, GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.page.contenders import Contender, describe_maps
from iqlightning.gridworld.page.game import Game, draw_grid
from iqlightning.gridworld.page.messages import Message
from iqlightning.gridworld.page.recording import Recording, RecordingFolder

__all__ = ["Session", "grid_of", "settings_of"]

#: People play grids that may be learned from and watch those that evaluation uses.
_PLAY_SPLIT, _WATCH_SPLIT = "train", "test"


#: Sentences about strange files that a page is told at once.
_TROUBLES = 3


class Session:
    """What one page has going on: a game, perhaps a recording, and the grids that it watches."""

    def __init__(
        self, contenders: Sequence[Contender], folder: RecordingFolder, seed: int, default: GridWorldConfig
    ) -> None:
        self._contenders = contenders
        self._folder = folder
        self._seed = seed
        self._default = default
        self._game: Game | None = None
        self._played = self._watched = 0
        self._recording: Recording | None = None

    def answer(self, message: Message) -> dict[str, Any]:
        """The answer to a message.

        Raises:
            UserError: if what it asks for is not possible; the session is then as it was before.
        """
        answer = getattr(self, f"_{message.type}")  # of the types in messages.FIELDS, which are the only ones
        return {"type": message.type, **answer(**message.fields)}

    def close(self) -> None:
        """Ends the recording, whose episodes are on the disk or stay with the folder until they are."""
        if self._recording is not None:
            self._recording.leave()
            self._recording = None

    # Playing

    def _hello(self) -> dict[str, Any]:
        return {
            "default": settings_of(self._default),
            "sizes": list(SIZES),
            "contenders": [contender.describe() for contender in self._contenders],
            "recordings": self._folder.names(),
            "troubles": self._folder.troubles()[:_TROUBLES],
            "folder": str(self._folder.path),
        }

    def _new_game(self, **settings: Any) -> dict[str, Any]:
        config = _config(settings)
        if self._recording is not None and config != self._recording.env:
            raise UserError(
                f"the episodes of '{self._recording.name}' are all of one game: stop recording to play another"
            )
        return self._begin(config)

    def _begin(self, config: GridWorldConfig) -> dict[str, Any]:
        self._game = Game(config, draw_grid(config, self._seed, self._played, _PLAY_SPLIT))
        self._played += 1
        return self._state()

    def _move(self, action: int) -> dict[str, Any]:
        if self._game is None:
            raise UserError("there is no game yet")
        before = self._game.player
        episode = self._game.move(action)
        trouble = {}
        if episode is not None and self._recording is not None:
            try:
                waits = self._recording.add(episode)
            except UserError as error:  # the move was made all the same
                waits = f"this episode was not kept: {error}"
            trouble = {} if waits is None else {"trouble": waits}
        game = self._game
        return {
            "player": game.player,
            "moves": game.moves,
            "finished": game.finished,
            "bumped": game.player == before,
            **self._recorded(),
            **trouble,
        }

    def _state(self) -> dict[str, Any]:
        assert self._game is not None
        game = self._game
        return {
            **grid_of(game.layout),
            "settings": settings_of(game.config),
            "limit": game.config.move_limit,
            "shortest": game.shortest,
            **self._recorded(),
        }

    # Recording

    def _record_start(self, name: str) -> dict[str, Any]:
        self._require_no_recording()
        if self._game is None:
            raise UserError("there is no game to record yet")
        self._recording = self._folder.start(name, self._game.config, self._seed)
        return self._begin(self._recording.env)  # with a whole episode, not in the middle of one

    def _record_resume(self, name: str, kept: int | None) -> dict[str, Any]:
        self._require_no_recording()
        recording = self._recording = self._folder.resume(name)
        if kept is not None:  # the same recording goes on after a reload: discarding still means what it meant
            recording.kept = min(kept, len(recording.episodes))
        return self._begin(recording.env)

    def _record_undo(self) -> dict[str, Any]:
        self._require_recording().undo()
        return self._recorded()

    def _record_stop(self) -> dict[str, Any]:
        ended = self._require_recording()
        ended.close()
        self.close()
        return {"ended": _summary(ended), "recordings": self._folder.names(), **self._recorded()}

    def _record_discard(self) -> dict[str, Any]:
        ended = self._require_recording()
        ended.discard()
        self.close()
        return {"ended": _summary(ended), "recordings": self._folder.names(), **self._recorded()}

    def _require_recording(self) -> Recording:
        if self._recording is None:
            raise UserError("nothing is being recorded")
        return self._recording

    def _require_no_recording(self) -> None:
        if self._recording is not None:
            raise UserError(f"'{self._recording.name}' is being recorded; stop it first")

    def _recorded(self) -> dict[str, Any]:
        return {"recording": None if self._recording is None else _summary(self._recording)}

    # Watching

    def _watch_grid(self, **settings: Any) -> dict[str, Any]:
        layout = draw_grid(_config(settings), self._seed, self._watched, _WATCH_SPLIT)
        self._watched += 1
        return grid_of(layout)

    def _watch_maps(
        self, height: int, width: int, walls: str, start: int, goal: int, contenders: list[list[int]]
    ) -> dict[str, Any]:
        cells = height * width
        if len(walls) != cells or start >= cells or goal >= cells:
            raise UserError(f"that is not a grid of {height}x{width}")
        if walls[start] == "1" or walls[goal] == "1":
            raise UserError("player and goal cannot stand on walls")
        if start == goal:
            raise UserError("player and goal cannot share a cell")
        for index, checkpoint in contenders:
            if index >= len(self._contenders):
                raise UserError(f"there is no policy number {index}")
            if checkpoint >= max(1, len(self._contenders[index].checkpoints)):
                raise UserError(f"policy number {index} has no checkpoint number {checkpoint}")
        blocked = torch.tensor([cell == "1" for cell in walls]).view(1, height, width)
        layout = Layouts(blocked, torch.tensor([start]), torch.tensor([goal]))
        return {
            "maps": [self._maps_of(self._contenders[index], checkpoint, layout) for index, checkpoint in contenders]
        }

    @staticmethod
    def _maps_of(contender: Contender, checkpoint: int, layout: Layouts) -> dict[str, Any]:
        try:
            return describe_maps(contender.maps(layout, checkpoint)) | {"true_units": contender.true_units}
        except UserError as error:  # the other one can be watched all the same
            return {"trouble": str(error)}


def _config(settings: dict[str, Any]) -> GridWorldConfig:
    level = GridWorldConfig.level_of(settings["random_walls"], settings["random_goal"])
    return GridWorldConfig(
        level,
        settings["height"],
        settings["width"],
        num_walls=settings["num_walls"],
        random_start=settings["random_start"],
    )


def settings_of(config: GridWorldConfig) -> dict[str, Any]:
    """The page's checkboxes and numbers, from which :func:`_config` makes the same game."""
    return {
        "random_walls": config.random_walls,
        "random_goal": config.random_goal,
        "random_start": config.random_start,
        "height": config.height,
        "width": config.width,
        "num_walls": config.wall_count,
    }


def grid_of(layout: Layouts) -> dict[str, Any]:
    """One grid as the page knows it: walls as a text of zeros and ones, start and goal as flat cells."""
    height, width = layout.walls.shape[1:]
    walls = "".join("1" if wall else "0" for wall in layout.walls.flatten().tolist())
    return {
        "height": height,
        "width": width,
        "walls": walls,
        "start": int(layout.start[0]),
        "goal": int(layout.goal[0]),
    }


def _summary(recording: Recording) -> dict[str, Any]:
    env = recording.env
    return {
        "name": recording.name,
        "file": str(recording.path),
        "episodes": len(recording.episodes),
        "transitions": recording.num_transitions,
        "kept": recording.kept,
        "settings": settings_of(env),
        "level": env.level,
    }
