import json
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP
from iqlightning.observation_codec import ObservationCodec, batch_of_one
from iqlightning.policies import AgentPolicy
from iqlightning.spaces import Spaces

MOVES = spaces.Discrete(3)

# space, layout, shape once encoded, whether bytes
KINDS = [
    (spaces.Discrete(5, start=2), "auto", (5,), True),
    (spaces.MultiDiscrete([3, 4]), "auto", (7,), True),
    (spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[1, 0], [0, 2]])), "auto", (14,), True),
    (spaces.MultiBinary(6), "auto", (6,), True),
    (spaces.MultiBinary([4, 5, 5]), "auto", (4, 5, 5), True),
    (spaces.Box(-1, 1, ()), "auto", (1,), False),
    (spaces.Box(-5, 5, (), np.int16), "auto", (1,), False),
    (spaces.Box(0, 255, (8, 9, 3), np.uint8), "auto", (3, 8, 9), True),
    (spaces.Box(0, 255, (3, 8, 9), np.uint8), "last", (9, 3, 8), True),
    (spaces.Box(0, 1, (8, 9, 3), np.float32), "auto", (3, 8, 9), False),
    (spaces.Box(0, 255, (4, 8, 8, 3), np.uint8), "auto", (12, 8, 8), True),
    (spaces.Box(0, 255, (2, 3, 8, 8), np.uint8), "auto", (6, 8, 8), True),
    (spaces.Box(0, 255, (8, 9), np.uint8), "auto", (1, 8, 9), True),
    (spaces.Box(0, 1, (10, 10, 10), cast(Any, bool)), "auto", (10, 10, 10), True),  # Seaquest of MinAtar
    (spaces.Box(0, 255, (7, 7, 20), np.uint8), "auto", (20, 7, 7), True),  # one-hot MiniGrid
    (spaces.Box(-1, 1, (4, 3)), "auto", (12,), False),
    (spaces.Tuple((spaces.Discrete(32), spaces.Discrete(11), spaces.Discrete(2))), "auto", (45,), True),
    (
        spaces.Dict(
            image=spaces.Box(0, 255, (7, 7, 3), np.uint8), way=spaces.Discrete(4), v=spaces.Box(-np.inf, np.inf, (2,))
        ),
        "auto",
        (153,),
        False,
    ),
    (
        spaces.Dict(a=spaces.Dict(b=spaces.Discrete(3)), c=spaces.Tuple((spaces.MultiBinary(2),))),
        "auto",
        (5,),
        True,
    ),
]


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return all(same(*each) for each in zip(one, other, strict=True))
    return np.array_equal(one, other) and one.dtype == other.dtype


@pytest.mark.parametrize(("space", "layout", "shape", "bytes_"), KINDS, ids=[str(each[0])[:40] for each in KINDS])
def test_what_is_encoded_lies_in_the_box_comes_back_and_is_described_by_a_file(space, layout, shape, bytes_):
    described = Spaces.of(space, MOVES, layout)
    codec = described.codec
    assert codec is not None
    batched = batch_space(space, 3)
    batched.seed(0)
    given = batched.sample()
    encoded = codec.encode(given)
    assert (tuple(encoded.shape), encoded.dtype == torch.uint8) == ((3, *shape), bytes_)
    assert described.observation.shape == shape
    box = described.observation
    assert isinstance(box, spaces.Box)
    assert ((encoded.numpy() >= box.low) & (encoded.numpy() <= box.high)).all()
    assert same(codec.decode(encoded), given)
    assert codec.is_native(given)
    assert not codec.is_native(encoded)
    again = Spaces.from_dict(json.loads(json.dumps(described.to_dict())))
    assert again == described
    assert again.codec is not None
    assert torch.equal(again.codec.encode(given), encoded)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (4,)),
        spaces.Box(0, 255, (3, 8, 8), np.uint8),
        spaces.Box(0, 9, (5,), np.int64),
        spaces.Box(0, 1, (3, 4, 4), np.uint8),
    ],
)
def test_arrays_that_networks_read_anyway_stay_and_are_described_as_ever(space):
    described = Spaces.of(space, MOVES)
    assert described == Spaces(space, MOVES)
    assert "layouts" not in described.to_dict()


def test_pictures_lie_where_they_did_and_a_stack_is_the_last_plane_of_all():
    picture = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(1, 2, 3, 4, 5)  # two frames of 3 x 4, five channels
    codec = ObservationCodec(spaces.Box(0, 255, (2, 3, 4, 5), np.uint8), "last")
    encoded = codec.encode(picture)
    assert encoded[0, 5 + 2, 1, 3] == picture[0, 1, 1, 3, 2]
    wider = np.zeros((4, 2, 9, 9, 5), np.uint8)  # of another size than that of training
    assert codec.is_native(wider)
    assert codec.encode(wider).shape == (4, 10, 9, 9)
    as_given = Spaces.of(spaces.Box(0, 255, (8, 8, 3), np.uint8), MOVES, "as given")
    assert as_given.codec is None


def test_one_hot_numbers_and_rows_are_in_the_order_of_names():
    space = spaces.Dict(b=spaces.Discrete(2, start=1), a=spaces.MultiDiscrete([2, 3]))
    encoded = ObservationCodec(space).encode({"b": np.array([2]), "a": np.array([[1, 2]])})
    assert encoded.tolist() == [[0, 1, 0, 0, 1, 0, 1]]


@pytest.mark.parametrize(
    ("space", "given", "words"),
    [
        (spaces.Discrete(4), np.array([0, 4]), ["whole number from 0 to 3", "4"]),
        (spaces.Discrete(4), np.array([0.5]), ["0.5"]),
        (spaces.MultiDiscrete([2, 3]), np.array([[1, 3]]), ["from 0 to 2", "3"]),
        (spaces.MultiBinary(2), np.array([[0, 2]]), ["0 and 1", "2"]),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": np.array([1])}, ["no 'a'"]),
        (spaces.Dict(a=spaces.Box(-1, 1, (3,))), {"a": np.zeros((1, 2))}, ["'a'", "(3,)", "(1, 2)"]),
    ],
)
def test_what_is_not_of_the_space_is_refused(space, given, words):
    with pytest.raises(UserError) as error:
        ObservationCodec(space).encode(given)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_mask_is_found_counted_and_obeyed_by_random_moves():
    space = spaces.Dict(observation=spaces.Discrete(2), action_mask=spaces.MultiBinary(3))
    described = Spaces.of(space, MOVES)
    assert described.codec is not None
    masks = np.array([[0, 1, 0], [1, 0, 1]], np.int8).repeat(200, 0)
    encoded = described.codec.encode({"observation": np.zeros(400, int), "action_mask": masks})
    drawn = described.random_actions(encoded, 7, torch.arange(400))
    counts = [torch.bincount(part, minlength=3).tolist() for part in drawn.split(200)]
    assert counts[0] == [0, 200, 0]
    assert counts[1][1] == 0
    assert min(counts[1][0], counts[1][2]) > 70
    with pytest.raises(UserError, match="3 actions and 4 numbers"):
        Spaces.of(spaces.Dict(observation=spaces.Discrete(2), action_mask=spaces.MultiBinary(4)), MOVES)


@pytest.mark.parametrize(
    "described",
    [
        {"kind": "MultiBinary", "n": [1 << 40]},
        {"kind": "Dict", "spaces": [1]},
        {"kind": "Tuple", "spaces": 3},
        {"kind": "MultiDiscrete", "nvec": "many"},
        {"kind": "Discrete", "n": 1 << 50},
    ],
)
def test_files_cannot_speak_of_anything(described):
    with pytest.raises(UserError):
        Spaces.from_dict({"observation": described, "action": {"kind": "Discrete", "n": 2}, "layouts": ["auto"]})


@pytest.mark.parametrize(
    ("native", "one"),
    [
        (spaces.Discrete(5), 3),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 2])),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), np.full((8, 8, 3), 7, np.uint8)),
        (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,))}), {"a": 1, "b": np.zeros(2)}),
    ],
)
def test_a_policy_predicts_for_one_observation_and_for_a_batch_of_any_kind(native, one):
    described = Spaces.of(native, spaces.Discrete(4))
    policy = AgentPolicy(SoftQ(described, MLP), gamma=0.9)
    batch = batch_of_one(one)
    assert described.codec is not None
    encoded = described.codec.encode(batch)
    action, _ = policy.predict(one)
    assert np.shape(action) == ()
    for several in (batch, encoded):
        assert policy.predict(several)[0].tolist() == [action]
