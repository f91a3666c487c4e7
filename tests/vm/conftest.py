"""The ISO that machines are installed from: `TREEBUILD_TEST_ISO`, or built once."""

from tests.boot.test_sampleos import folder, iso

__all__ = ["folder", "iso"]
