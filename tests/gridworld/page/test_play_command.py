"""``iqlightning play``: its mistakes in a sentence, and what is left when it is killed."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from page_server import SETTINGS, ask, policy, solve

from iqlightning.cli import play
from iqlightning.cli.main import main
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.page.contenders import check_playable, contenders_of, labels_of


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments: str) -> str:
        assert main(["play", "--no-open", *arguments]) == 2
        captured = capsys.readouterr()
        (sentence,) = captured.err.strip().splitlines()
        assert captured.out == ""
        return sentence

    return refuse


def test_a_port_in_use(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused("--port", str(port))
    assert f"cannot listen on port {port} of 127.0.0.1" in sentence
    assert "--port 0" in sentence


def test_the_browser_is_told_the_token_in_a_private_file(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(play.webbrowser, "open", opened.append)
    play._open("http://127.0.0.1:1/?token=secret", tmp_path)
    (file,) = tmp_path.iterdir()
    assert opened == [file.as_uri()]
    assert 'url=http://127.0.0.1:1/?token=secret"' in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_mistakes(refused, tmp_path):
    assert "there is no checkpoint 'nowhere.ckpt'" in refused("nowhere.ckpt")
    assert "from 0 to 65535, not 70000" in refused("--port", "70000")
    assert "did you mean --height?" in refused("--hight", "5")
    assert "no level 'statik'; did you mean 'static'?" in refused("--level", "statik")
    (tmp_path / "file").write_text("")
    assert "'file' is a file" in refused("--data", "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_another_games_checkpoint_cannot_be_watched():
    stranger = policy()
    stranger.env = GymnasiumConfig("CartPole-v1")
    with pytest.raises(UserError, match=r"'x.ckpt' plays 'CartPole-v1'.*only GridWorld"):
        check_playable(stranger, "x.ckpt")


def test_without_checkpoints_the_exact_optimum_can_be_watched():
    (only,) = contenders_of([])
    assert only.policy is None


def test_labels_are_short_and_differ():
    best, last = "logs/cnn_iq/version_0/checkpoints/best.ckpt", "logs/cnn_iq/version_0/checkpoints/last.ckpt"
    assert labels_of([best, last]) == ["cnn_iq/version_0", "cnn_iq/version_0/last.ckpt"]
    assert labels_of(["mine.ckpt"]) == ["mine"]
    assert labels_of([best, best]) == [best, best]


class Program:
    """The command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-m", "iqlightning", "play", "--port", "0", "--no-open", "--seed", "1"]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # tests that run in the background inherit a Ctrl-C that is ignored; a person's terminal does not
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        found = re.match(r"open (http://127\.0\.0\.1:\d+)/\?token=(\S+)", self.process.stdout.readline())
        assert found, self.process.communicate()[1]
        self.base, self.token = found.groups()

    def connect(self, client: aiohttp.ClientSession):
        return client.ws_connect(f"{self.base}/ws?token={self.token}", headers={"Origin": self.base})

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err


def test_finished_episodes_survive_a_killed_program(tmp_path):
    async def play(program: Program, begin: str, episodes: int) -> list[int]:
        moves = []
        async with aiohttp.ClientSession() as client, program.connect(client) as socket:
            await ask(socket, "new_game", **SETTINGS)
            grid = await ask(socket, begin, name="mine", **({"kept": None} if begin == "record_resume" else {}))
            for _ in range(episodes):
                moves += solve(grid)
                answers = [await ask(socket, "move", action=action) for action in solve(grid)]
                assert answers[-1]["finished"] == "goal"
                grid = await ask(socket, "new_game", **SETTINGS)
            await ask(socket, "move", action=0)
            status, _ = await asyncio.get_running_loop().run_in_executor(None, program.end, signal.SIGKILL)
            assert status == -signal.SIGKILL
        return moves

    moves = asyncio.run(play(Program(tmp_path), "record_start", 2))
    file = tmp_path / "data" / "mine.safetensors"
    trajectories, _ = load_demonstrations(file)
    assert trajectories.num_episodes == 2
    assert trajectories.actions.tolist() == moves

    moves += asyncio.run(play(Program(tmp_path), "record_resume", 1))
    assert load_demonstrations(file)[0].actions.tolist() == moves
    # the lock of a killed program is free, its file waits for the next one
    assert {name for name in os.listdir(tmp_path / "data") if not name.endswith(".lock")} == {"mine.safetensors"}


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "SIGHUP"), (signal.SIGINT, 130, "interrupted")],
)
def test_it_ends_when_asked_to_while_a_page_is_open(tmp_path, number, status, said):
    async def end(program: Program) -> tuple[int, str]:
        async with aiohttp.ClientSession() as client, program.connect(client) as socket:
            assert (await ask(socket, "hello"))["type"] == "hello"
            ended = asyncio.get_running_loop().run_in_executor(None, program.end, number)
            assert (await socket.receive(timeout=120)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            return await ended

    found, err = asyncio.run(end(Program(tmp_path)))
    assert found == status
    assert said in err
    assert len(err.strip().splitlines()) == 1
