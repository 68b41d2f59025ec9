"""A sandbox that stands in for Toast, Amperity and S3, as strict as the two services' contracts.

Every rule of the stand-ins is marked where it is written: [doc] documented, [seen] in saved real responses,
[forum] said by Toast's staff, [3p] a third party's note of what production answered, [inferred] follows from these,
[conflict] sources disagree, judgement: decided here.
"""

from __future__ import annotations

from toast_assets.sandbox.amperity import Record
from toast_assets.sandbox.assumptions import Assumption
from toast_assets.sandbox.config import Restaurant, SandboxConfig, invent_restaurants
from toast_assets.sandbox.configuration import Configuration
from toast_assets.sandbox.faults import Kind
from toast_assets.sandbox.orders import RestaurantOrders
from toast_assets.sandbox.server import Sandbox
from toast_assets.sandbox.service import Call

__all__ = ["Assumption", "Call", "Configuration", "Kind", "Record", "Restaurant", "RestaurantOrders", "Sandbox"]
__all__ += ["SandboxConfig", "invent_restaurants"]
