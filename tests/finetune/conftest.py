"""What several tests of fine-tuning look at."""

import pytest

from sktl.finetune._base import FineTuned


@pytest.fixture
def sides(monkeypatch):
    """Return a list that gets the two sides of each inner split."""
    divide, found = FineTuned._divide, []

    def remember(net, *args):
        found.append(divide(net, *args))
        return found[-1]

    monkeypatch.setattr(FineTuned, "_divide", remember)
    return found
