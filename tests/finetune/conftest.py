"""What several tests of fine-tuning look at."""

import signal

import pytest

from sktl.finetune._base import FineTuned


@pytest.fixture(autouse=True)
def terminal():
    """Let Ctrl-C interrupt, as in a terminal: jobs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sides(monkeypatch):
    """Return a list that gets the two sides of each inner split."""
    divide, found = FineTuned._divide, []

    def remember(net, *args):
        found.append(divide(net, *args))
        return found[-1]

    monkeypatch.setattr(FineTuned, "_divide", remember)
    return found
