"""Toast orders to S3 and Amperity as weekly-partitioned Dagster assets."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toast_assets.defs.component import ToastToAmperity

__all__ = ["ToastToAmperity"]


def __getattr__(name: str) -> Any:
    # Loading it takes a second, which commands such as --help do not need.
    if name in __all__:
        from toast_assets.defs.component import ToastToAmperity

        return ToastToAmperity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Where Dagster looks for components.
    return [*globals(), *__all__]
