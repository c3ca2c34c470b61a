"""Every test of the engine gets a run of its own."""

import pytest


@pytest.fixture(autouse=True)
def run(own_session):
    """Keep what a test stores away from all others."""
