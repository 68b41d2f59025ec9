"""A sandbox that stands in for Toast, Amperity and S3, as strict as the two services' contracts.

Every rule of the stand-ins is marked where it is written: [doc] documented, [seen] in saved real responses,
[forum] said by Toast's staff, [inferred] follows from these, [conflict] sources disagree, judgement: decided
here.
"""

from __future__ import annotations

from toast_assets.sandbox.amperity import Record
from toast_assets.sandbox.config import Restaurant, SandboxConfig, invent_restaurants
from toast_assets.sandbox.configuration import Configuration
from toast_assets.sandbox.faults import Kind
from toast_assets.sandbox.orders import RestaurantOrders
from toast_assets.sandbox.server import Sandbox
from toast_assets.sandbox.service import Call

__all__ = ["Call", "Configuration", "Kind", "Record", "Restaurant", "RestaurantOrders", "Sandbox", "SandboxConfig"]
__all__ += ["invent_restaurants"]
