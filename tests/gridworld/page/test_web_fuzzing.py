"""Messages from plain noise to nearly right ones: the server survives, and no file changes but recordings."""

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from page_server import HOSTILE_NAMES, SETTINGS, ask, run, serving

from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.gridworld.page.messages import FIELDS


class Fuzzer:
    """Messages from plain noise to nearly right ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = ["a", "b", "con", "x" * 300, *HOSTILE_NAMES]

    def message(self) -> str:
        kind = self.random.random()
        if kind < 0.15:
            return "".join(self.random.choices(string.printable + "\u2028\U0001f600", k=self.random.randrange(200)))
        text = json.dumps(self.object())
        if kind < 0.35:
            return self.mutated(text)
        return text

    def object(self) -> dict[str, Any]:
        # moves above all, so that episodes come to their end and are written
        name = self.random.choice(["new_game", "record_start", *["move"] * 25, *FIELDS])
        strange = self.random.choice([0.0, 0.0, 0.3])
        fields = {field: self.value(field, strange) for field in FIELDS[name]}
        if not strange:
            if name == "watch_maps":
                fields["walls"] = fields["walls"].ljust(25, "0")[: fields["height"] * fields["width"]]
            return {"type": name, **fields}
        if self.random.random() < 0.1 and fields:
            fields.pop(self.random.choice(list(fields)))
        if self.random.random() < 0.1:
            fields[self.random.choice(["x", "__proto__", "id", "type"])] = self.anything(2)
        return {"type": name, **fields}

    def value(self, field: str, strange: float) -> Any:
        if self.random.random() < strange:
            return self.anything(3)
        if field == "name":
            return self.random.choice(self.names if strange else ["a", "b", "con"])
        if field == "action":
            return self.random.randrange(4)
        if field == "walls":
            return "".join(self.random.choices("0001", k=self.random.choice([4, 6, 9, 20])))
        if field == "contenders":
            pairs = [[self.random.randrange(4), self.random.choice([0, 0, 0, 1])] for _ in range(3)]
            return pairs[: self.random.choice([1, 1, 2, 2, 3])]
        if field == "kept":
            return self.random.choice([None, 0, 1, 2])
        if field.startswith("random_"):
            return self.random.random() < 0.5
        if field in ("height", "width"):
            return self.random.choice([2, 2, 3, 4, 5] if not strange else [4, 0, 65, -1])
        return self.random.choice([0, 0, 1, 2, 3] if not strange else [19, 20, 400, -1, 10**30])

    def anything(self, depth: int) -> Any:
        makers = [
            lambda: None,
            lambda: self.random.choice([True, False]),
            lambda: self.random.randrange(-(10**20), 10**20),
            lambda: self.random.choice([0.5, -0.0, 1e308, float("inf"), float("nan")]),
            lambda: self.random.choice(self.names),
            lambda: "".join(self.random.choices(string.printable, k=30)),
        ]
        if depth:
            makers.append(lambda: [self.anything(depth - 1) for _ in range(self.random.randrange(4))])
            makers.append(
                lambda: {str(self.anything(0)): self.anything(depth - 1) for _ in range(self.random.randrange(3))}
            )
        return self.random.choice(makers)()

    def mutated(self, text: str) -> str:
        letters = list(text)
        for _ in range(self.random.randrange(1, 5)):
            at = self.random.randrange(len(letters) + 1)
            if self.random.random() < 0.5:
                letters.insert(at, self.random.choice('{}[]",:0189eE+-.\\ntru\0é'))
            else:
                del letters[at : at + self.random.randrange(1, 6)]
        return "".join(letters)


async def assault(folder: Path, messages: int) -> dict[str, int]:
    """Sends fuzzed messages over connections that come and go; returns how often each type was answered."""
    fuzzer, answered = Fuzzer(messages), dict.fromkeys([*FIELDS, "error"], 0)
    async with serving(folder) as site:
        sent = 0
        while sent < messages:
            async with site.connect() as socket:
                for _ in range(fuzzer.random.randrange(1, 200)):
                    await socket.send_str(fuzzer.message())
                    answered[(await socket.receive_json(timeout=60))["type"]] += 1
                    sent += 1
            if fuzzer.random.random() < 0.3:  # one that leaves without a word in the middle of what it says
                rude = await site.connect()
                await rude.send_str(fuzzer.message())
                rude._response.close()
        assert site.server.failures == 0
        async with site.connect() as socket:
            assert (await ask(socket, "new_game", **SETTINGS))["type"] == "new_game"
    return answered


@pytest.mark.parametrize("messages", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_fuzzed_messages_break_nothing_and_write_nothing_but_recordings(tmp_path, monkeypatch, messages):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "x.safetensors").write_text("precious")
    (tmp_path / "x.safetensors").write_text("precious")
    data = tmp_path / "data"
    answered = run(assault(data, messages))
    assert min(answered.values()) > 0, answered
    changed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    recordings = {name for name in changed if name.startswith("data/")}
    assert changed - recordings == {"elsewhere/x.safetensors", "x.safetensors"}
    assert recordings <= {"data/a.safetensors", "data/b.safetensors", "data/con.safetensors"}
    assert (tmp_path / "x.safetensors").read_text() == (elsewhere / "x.safetensors").read_text() == "precious"
    for name in recordings:
        load_demonstrations(tmp_path / name)
