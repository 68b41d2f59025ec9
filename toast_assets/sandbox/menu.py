"""The menu and the guests of an invented restaurant: names, prices in cents.

Everything here is made up. E-mail addresses end in example.com and telephone numbers begin with 555, so that
nothing invented can reach a person.
"""

from __future__ import annotations

from typing import NamedTuple


class Modifier(NamedTuple):
    """A choice on a dish: its name, its price in cents, and choices of its own (to depth three)."""

    name: str
    cents: int
    modifiers: tuple[Modifier, ...] = ()


class Dish(NamedTuple):
    """One line of the menu: its name, its price in cents, its group and sales category, and its choices."""

    name: str
    cents: int
    group: str
    category: str
    modifiers: tuple[Modifier, ...] = ()
    by_weight: bool = False


_DRESSING = (
    Modifier("Ranch", 0),
    Modifier("Citrus Vinaigrette", 50, (Modifier("On the side", 0),)),
    Modifier("Jalapeño Crema", 75, (Modifier("Light", 0), Modifier("On the side", 0))),
)
_SIDES = (
    Modifier("House Fries", 0, (Modifier("Truffle Salt", 125, (Modifier("Extra", 60),)), Modifier("No salt", 0))),
    Modifier("Side Salad", 200, _DRESSING),
    Modifier("Crème Fraîche Slaw", 150),
)
_COOKED = (Modifier("Medium Rare", 0), Modifier("Medium", 0), Modifier("Well Done", 0))

DISHES: tuple[Dish, ...] = (
    Dish("Harbor Burger", 1495, "Mains", "Food", (*_COOKED, *_SIDES, Modifier("Add Bacon", 250))),
    Dish("Fried Chicken Sandwich", 1325, "Mains", "Food", (*_SIDES, Modifier("Extra Pickles", 0))),
    Dish("Roasted Beet Salad", 1210, "Salads", "Food", _DRESSING),
    Dish("Grain Bowl", 1350, "Salads", "Food", (*_DRESSING, Modifier("Add Tofu", 300))),
    Dish("Steak Frites", 2900, "Mains", "Food", (*_COOKED, *_SIDES)),
    Dish("Poke by the pound", 1899, "By weight", "Food", (Modifier("Sesame", 0),), by_weight=True),
    Dish("Crème Brûlée", 850, "Desserts", "Food"),
    Dish("Churros", 725, "Desserts", "Food", (Modifier("Dulce de Leche", 100),)),
    Dish("Tomato Soup", 610, "Starters", "Food", (Modifier("Sourdough", 150, (Modifier("Gluten-free", 100),)),)),
    Dish("Kids’ Pasta", 700, "Mains", "Food"),
    Dish("Iced Tea", 375, "Drinks", "Non-alcoholic", (Modifier("Lemon", 0), Modifier("No ice", 0))),
    Dish("Cold Brew", 450, "Drinks", "Non-alcoholic", (Modifier("Oat Milk", 75, (Modifier("Steamed", 0),)),)),
    Dish("Sparkling Water", 400, "Drinks", "Non-alcoholic"),
    Dish("Pale Ale", 800, "Bar", "Beer"),
    Dish("House Red", 1100, "Bar", "Wine"),
)

DINING_OPTIONS = ("Dine In", "Take Out", "Delivery", "Curbside")
DISCOUNTS = (("Happy Hour", 10), ("Loyal Guest", 15), ("Staff Meal", 50))
VOID_REASONS = ("Guest changed mind", "Entered in error", "Kitchen out of stock")
CARD_TYPES = ("VISA", "MASTERCARD", "AMEX", "DISCOVER")
TAB_NAMES = ("Renée’s birthday", "Bar 4", "O’Hara party", "Mañana Club", "张 table")
REQUESTS = ("no onions please", "birthday candle 🎂", "sauce à part")

FIRST_NAMES = ("Avery", "Björn", "Chloé", "Dario", "Esperanza", "Fadila", "Grzegorz", "Hana", "Ivo", "Juniper")
LAST_NAMES = ("Ashgrove", "Brightwater", "Castañeda", "Dünnwald", "Eastlake", "Farrow", "Głowacki", "Hollis")
STREETS = ("Larkspur Lane", "Old Mill Road", "Juniper Court", "Harbour View", "Saint-Michel Street")
CITIES = (("Fairhaven", "MA", "02719"), ("Brookmere", "NY", "10999"), ("Cedar Point", "NC", "28520"))
