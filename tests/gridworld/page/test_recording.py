"""Recordings: finished episodes are on the disk, and nothing else on the disk changes."""

import os
import re

import pytest
import torch
from page_server import HOSTILE_NAMES

from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.page import recording as module
from iqlightning.gridworld.page.recording import SOURCE, RecordingFolder

ENV = GridWorldConfig(height=4, width=5, num_walls=2)
PLAYED = shortest_path_demonstrations(ENV, 5, seed=0)
EPISODES = [PLAYED.select(torch.tensor([e])) for e in range(5)]


@pytest.fixture
def folder(tmp_path):
    return RecordingFolder(tmp_path / "data")


def files(folder):
    """What is in the folder, locks aside."""
    return [path.name for path in folder.path.iterdir() if path.suffix != ".lock"]


def on_disk(folder, name="mine"):
    return load_demonstrations(folder.file(name))


def test_every_finished_episode_is_on_the_disk_at_once(folder):
    recording = folder.start("mine", ENV, seed=7)
    assert not folder.file("mine").exists()
    for count, episode in enumerate(EPISODES, start=1):
        recording.add(episode)
        assert on_disk(folder)[0].num_episodes == count
    trajectories, metadata = on_disk(folder)
    assert torch.equal(trajectories.observations, PLAYED.observations)
    assert torch.equal(trajectories.actions, PLAYED.actions)
    assert (metadata["env"], metadata["seed"], metadata["source"]) == (ENV.to_dict(), 7, SOURCE)
    assert files(folder) == ["mine.safetensors"]


def test_undo_takes_the_last_episode_away_and_with_the_only_one_the_file(folder):
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.add(EPISODES[1])
    recording.undo()
    assert on_disk(folder)[0].num_episodes == 1
    recording.undo()
    assert files(folder) == []
    with pytest.raises(UserError, match="no episode"):
        recording.undo()
    recording.add(EPISODES[2])
    assert torch.equal(on_disk(folder)[0].actions, EPISODES[2].actions)


def test_discarding_removes_the_file_but_not_what_an_earlier_time_recorded(folder):
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.discard()
    assert list(folder.path.iterdir()) == []

    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.close()
    before = folder.file("mine").read_bytes()
    again = folder.resume("mine")
    again.add(EPISODES[1])
    again.add(EPISODES[2])
    again.discard()
    assert folder.file("mine").read_bytes() == before


def test_a_recording_goes_on_where_it_was_left(folder):
    recording = folder.start("mine", ENV, 5)
    recording.add(EPISODES[0])
    recording._locked.release()  # the program dies: nobody says goodbye
    later = RecordingFolder(folder.path).resume("mine")
    assert (later.env, later.seed, len(later.episodes)) == (ENV, 5, 1)
    later.add(EPISODES[1])
    trajectories, _ = on_disk(folder)
    assert torch.equal(trajectories.actions, torch.cat([EPISODES[0].actions, EPISODES[1].actions]))


@pytest.mark.parametrize("name", ["", "con:", *HOSTILE_NAMES])
def test_a_name_that_could_lead_elsewhere_is_refused(folder, name):
    for use in (folder.resume, lambda name: folder.start(name, ENV, 0)):
        with pytest.raises(UserError, match="letters, digits"):
            use(name)
    assert not folder.path.exists()


def test_nothing_is_ever_overwritten(folder):
    save_demonstrations(folder.file("expert"), PLAYED, {"env": ENV.to_dict(), "source": "shortest-path expert"})
    (folder.path / "note.safetensors").write_text("not a recording")
    os.symlink(folder.path / "expert.safetensors", folder.path / "link.safetensors")
    os.symlink(folder.path / "nowhere", folder.path / "dangling.safetensors")
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.exists()}
    for name in ("expert", "note", "link", "dangling"):
        with pytest.raises(UserError, match="nothing is overwritten"):
            folder.start(name, ENV, 0)
        with pytest.raises(UserError):
            folder.resume(name)
    assert folder.names() == []
    assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.exists()} == before
    # names that were refused are not taken
    with pytest.raises(UserError, match="not recorded here"):
        folder.resume("expert")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_in_the_meantime_stays(folder, monkeypatch, links):
    if not links:

        def unsupported(*_):
            raise OSError("no links here")

        monkeypatch.setattr(module.os, "link", unsupported)
    recording = folder.start("mine", ENV, 0)
    folder.file("mine").write_text("somebody else's")
    with pytest.raises(UserError, match="another program"):
        recording.add(EPISODES[0])
    # even if it appears at the last moment
    monkeypatch.setattr(module, "_stamp", lambda path: None)
    with pytest.raises(UserError, match="nothing is overwritten"):
        recording.add(EPISODES[0])
    assert recording.episodes == []
    assert files(folder) == ["mine.safetensors"]
    assert folder.file("mine").read_text() == "somebody else's"


def test_a_file_system_without_links_will_do(folder, monkeypatch):
    def unsupported(*_):
        raise OSError("no links here")

    monkeypatch.setattr(module.os, "link", unsupported)
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.add(EPISODES[1])
    assert on_disk(folder)[0].num_episodes == 2
    assert len(files(folder)) == 1


def test_a_file_that_another_program_changed_is_left_alone(folder):
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    folder.file("mine").write_text("edited")
    for change in (lambda: recording.add(EPISODES[1]), recording.undo, recording.discard):
        with pytest.raises(UserError, match="changed by another program"):
            change()
    assert folder.file("mine").read_text() == "edited"
    folder.file("mine").unlink()
    with pytest.raises(UserError, match="removed by another program"):
        recording.add(EPISODES[1])


def test_two_windows_cannot_record_under_one_name(folder):
    recording = folder.start("mine", ENV, 0)
    for _ in range(2):
        with pytest.raises(UserError, match="another window"):
            folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    with pytest.raises(UserError, match="another window"):
        folder.resume("mine")
    recording.close()
    recording.close()
    assert len(folder.resume("mine").episodes) == 1


def test_a_full_recording_and_a_full_disk_lose_nothing(folder, monkeypatch):
    folder.max_bytes = sum(episode.observations.numel() for episode in EPISODES[:2])
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.add(EPISODES[1])
    with pytest.raises(UserError, match="full"):
        recording.add(EPISODES[2])
    recording.undo()
    folder.max_bytes *= 2

    def no_space(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("iqlightning.files.os.fsync", no_space)
        assert "No space left" in recording.add(EPISODES[1])
        assert "No space left" in recording.add(EPISODES[0].select(torch.tensor([0])))
        with pytest.raises(UserError, match="No space left"):
            recording.close()
        recording.undo()
        assert (len(recording.episodes), recording.waiting, on_disk(folder)[0].num_episodes) == (2, 1, 1)
        assert files(folder) == ["mine.safetensors"]
        recording.leave()  # its page goes away
        assert folder.write_waiting() == ["1 episode waits in memory to be written: " + str(no_room(folder))]
        assert folder.resume("mine") is recording
        recording.leave()
    assert folder.write_waiting() == []
    assert on_disk(folder)[0].num_episodes == 2
    assert len(folder.resume("mine").episodes) == 2


def no_room(folder):
    return f"cannot write the demonstrations file '{folder.file('mine')}': No space left on device"


def test_two_programs_cannot_record_under_one_name(folder):
    recording, other = folder.start("mine", ENV, 0), RecordingFolder(folder.path)
    for use in (lambda: other.start("mine", ENV, 0), lambda: other.resume("mine")):
        recording.add(EPISODES[0])
        with pytest.raises(UserError, match=r"by another program|already"):
            use()
    other.start("theirs", ENV, 0).close()
    recording.close()
    again = other.resume("mine")
    with pytest.raises(UserError, match="by another program"):
        folder.resume("mine")
    again.close()
    assert folder.resume("mine").kept == 2


def test_a_discard_that_the_disk_refuses_is_a_sentence(folder, monkeypatch):
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", read_only)
        with pytest.raises(UserError, match=r"cannot remove .*Read-only"):
            recording.discard()
    recording.discard()
    assert files(folder) == []


def test_strange_files_hide_no_recording(folder):
    recording = folder.start("mine", ENV, 0)
    recording.add(EPISODES[0])
    recording.close()
    os.utime(folder.file("mine"), (1000, 1000))
    os.symlink(folder.path / "nowhere", folder.file("dangling"))
    for number in range(300):
        folder.file(f"foreign-{number}").write_bytes(b"a foreign file")
    metadata = {"env": ENV.to_dict(), "source": SOURCE}
    save_demonstrations(folder.file("seedless"), PLAYED, metadata | {"seed": [1]}, ENV.spaces)
    save_demonstrations(folder.file("nowhere-played"), PLAYED, metadata | {"env": 3}, ENV.spaces)
    folder.file("torn").write_bytes(folder.file("mine").read_bytes()[:-9])
    assert folder.names() == ["mine"]
    for name, problem in (("seedless", "seed"), ("nowhere-played", "game|cannot be"), ("torn", "damaged")):
        assert any(name in text and re.search(problem, text) for text in folder.troubles())
        for _ in range(2):  # the name is released
            with pytest.raises(UserError, match=problem):
                folder.resume(name)
    assert len(folder.troubles()) == 3


def test_recordings_are_listed_newest_first(folder):
    assert folder.names() == []
    for age, name in enumerate(("first", "second", "third")):
        recording = folder.start(name, ENV, 0)
        recording.add(EPISODES[0])
        recording.close()
        os.utime(folder.file(name), (1000 + age, 1000 + age))
    save_demonstrations(folder.file("expert"), PLAYED, {"env": ENV.to_dict(), "source": "shortest-path expert"})
    assert folder.names() == ["third", "second", "first"]
