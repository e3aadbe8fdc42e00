import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.losses.values import AnnealedSoftValue, MaxValue, SoftValue, value_from_dict


def test_the_temperature_falls_evenly_in_its_logarithm_and_then_stays():
    value = AnnealedSoftValue(start=1.0, end=0.01, updates=100)
    found = []
    for update in (0, 50, 100, 1000):
        value.at(update)
        found.append(value.temperature)
    assert found == pytest.approx([1.0, 0.1, 0.01, 0.01])


def test_it_is_the_soft_value_of_the_moment_and_is_stored_as_such():
    value, q = AnnealedSoftValue(2.0, 0.5, 10), torch.randn(5, 4)
    value.at(10)
    assert torch.equal(value(q), SoftValue(0.5)(q))
    stored = value_from_dict(value.to_dict())
    assert isinstance(stored, SoftValue)
    assert stored.temperature == pytest.approx(0.5)


def test_the_others_have_no_schedule():
    for value in (SoftValue(0.3), MaxValue(0.3)):
        value.at(100)
        assert value.temperature == 0.3


def test_mistakes_are_named():
    with pytest.raises(UserError, match="AnnealedSoftValue"):
        AnnealedSoftValue(end=0.0)
