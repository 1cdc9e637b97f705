"""videosoft: train video action-recognition networks, swap their pooling, and find out whether the swap helped."""

from videosoft._version import __version__

__all__ = ["__version__"]
