"""What the tests of connections share."""

import pytest

from .peer import make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(str(tmp_path_factory.mktemp("tls")))
