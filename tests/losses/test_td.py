import pytest
import torch

from iqlightning.losses.td import td_loss, td_target


def test_target_by_hand_with_terminal_states_and_n_steps():
    target = td_target(
        rewards=torch.tensor([1.0, 1.0, 1.0]),
        next_v=torch.tensor([10.0, 10.0, 10.0]),
        terminated=torch.tensor([False, True, False]),
        gamma=0.5,
        steps=torch.tensor([1, 1, 3]),
    )
    assert target.tolist() == pytest.approx([6.0, 1.0, 2.25])


def test_huber_loss_is_quadratic_near_zero_and_linear_beyond_one():
    assert td_loss(torch.tensor([0.5]), torch.tensor([0.0])).item() == pytest.approx(0.125)
    assert td_loss(torch.tensor([3.0]), torch.tensor([0.0])).item() == pytest.approx(2.5)
