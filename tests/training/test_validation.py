import pytest

from harness.errors import DataError
from harness.training.validation import mean_loss


def test_nothing_held_out_is_said_and_not_divided_by():
    with pytest.raises(DataError, match="no validation example fits the budget's sequence_length"):
        mean_loss(None, [], "fp32")
