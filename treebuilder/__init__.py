"""treebuild: builds package trees, repositories and bootable images out of containers."""

__version__ = "0.1.0"
__all__ = ["__version__"]
