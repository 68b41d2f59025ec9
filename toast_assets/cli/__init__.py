"""The command line, ``toast-assets``."""

from toast_assets.cli.app import main

__all__ = ["main"]
