"""The command line, ``toast-assets``: try the pipeline on a sandbox, by itself or in Dagster's UI."""

from toast_assets.cli.app import main

__all__ = ["main"]
