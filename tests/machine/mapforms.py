"""How tests load a map from bytes."""

from __future__ import annotations

import pytest

from octavo.machine.firmware import FirmwareMap
from octavo.machine.mapsources import load_firmware_map


def load(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> FirmwareMap:
    """The map in a file."""
    path = tmp_path_factory.getbasetemp() / "form"
    path.write_bytes(data)
    return load_firmware_map(str(path))
