import pytest

from tests.oauth.provider import Provider


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def oauth2(provider, tmp_path):
    return provider.oauth2(str(tmp_path))
