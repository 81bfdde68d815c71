"""fsspec's own tests of filesystems, whole."""

from __future__ import annotations

import pytest
from fsspec.tests import abstract

from octavo.adapters.fsspec import OctavoFileSystem


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]  # fsspec has no types
    """A volume for each test."""

    @pytest.fixture
    def fs(self, fs: OctavoFileSystem) -> OctavoFileSystem:
        """The filesystem."""
        return fs

    @pytest.fixture
    def fs_path(self) -> str:
        """The directory that the tests work in."""
        return "tests"


class TestCopy(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]  # as above
    """Copies within the filesystem."""


class TestGet(abstract.AbstractGetTests, Fixtures):  # type: ignore[misc]  # as above
    """Copies out of it."""


class TestPut(abstract.AbstractPutTests, Fixtures):  # type: ignore[misc]  # as above
    """Copies into it."""


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc]  # as above
    """Opening."""


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc]  # as above
    """Writing whole files."""
