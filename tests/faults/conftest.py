"""Tests of this folder try faults and count what comes of them; see `campaign`."""
import pytest
from campaign import Campaign


@pytest.fixture
def campaign(request):
    """A Campaign whose defects fail the test."""
    result = Campaign(request.node.name, request.config.getoption('--faults'))
    yield result
    result.finish(request.node)
