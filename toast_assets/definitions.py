"""What Dagster loads: the definitions of a deployment's only brand. The one module that reads the environment when it
is imported; for several brands see ``toast_assets.ToastToAmperity``."""

from toast_assets.defs.build import build_defs

defs = build_defs()
