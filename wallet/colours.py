"""Colours of a brand: can its accent be read, which nearest one could, and what it becomes in the light and in the dark.

Pure.  The contrast is WCAG 2's; words need 4.5 to 1.  The grounds are those of static/css/tokens.css (a test compares them), and the accent
is asked for where it is hardest to read: as a link on the darkest of the light grounds, and under the white words of a button.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import NamedTuple

LEAST = Decimal("4.5")
IN_THE_DARK = Decimal("6.5")  # light words on dark look thinner than they are
WHITE, BLACK = "#ffffff", "#000000"
GROUNDS = ("#ffffff", "#f5f6f9", "#eef0f4")  # --paper, --ground, --sunken
DARK_GROUNDS = ("#181c24", "#0f1218", "#12161d")
STEPS = 128


class Colour(NamedTuple):
    red: int
    green: int
    blue: int


def read(text: str) -> Colour:
    """Return the colour of "#2a50b0"."""
    return Colour(*(int(text[start : start + 2], 16) for start in (1, 3, 5)))


def written(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def luminance(text: str) -> Decimal:
    """Return WCAG 2's relative luminance, from 0 (black) to 1 (white)."""
    red, green, blue = (linear(channel) for channel in read(text))
    return Decimal("0.2126") * red + Decimal("0.7152") * green + Decimal("0.0722") * blue


@cache
def linear(channel: int) -> Decimal:
    part = Decimal(channel) / 255
    if part <= Decimal("0.04045"):
        return part / Decimal("12.92")
    return ((part + Decimal("0.055")) / Decimal("1.055")) ** Decimal("2.4")


def contrast(one: str, other: str) -> Decimal:
    """Return how far two colours stand apart, from 1 to 21."""
    darker, brighter = sorted((luminance(one), luminance(other)))
    return (brighter + Decimal("0.05")) / (darker + Decimal("0.05"))


def mixed(text: str, into: str, share: int, of: int = 100) -> str:
    """Return the colour with so much of another one in it: `share` of `of` parts."""
    pairs = zip(read(text), read(into), strict=True)
    return written(Colour(*((one * (of - share) + other * share + of // 2) // of for one, other in pairs)))


def legibility(accent: str) -> Decimal:
    """Return the least contrast that the accent has on our light pages."""
    return min(contrast(accent, ground) for ground in GROUNDS)


def can_be_read(accent: str) -> bool:
    return legibility(accent) >= LEAST


def nearest(accent: str) -> str:
    """Return the accent itself, or the same one with as little black in it as makes it legible."""
    return next(shade for share in range(STEPS + 1) if can_be_read(shade := mixed(accent, BLACK, share, STEPS)))


def in_the_dark(accent: str) -> str:
    """Return the accent with as little white in it as makes it legible on our dark pages."""
    tints = (mixed(accent, WHITE, share, STEPS) for share in range(STEPS + 1))
    return next(tint for tint in tints if min(contrast(tint, ground) for ground in DARK_GROUNDS) >= IN_THE_DARK)


def light_scheme(accent: str) -> Mapping[str, str]:
    """Return the tokens that a brand sets in the light."""
    return {
        "--accent": accent,
        "--accent-strong": mixed(accent, BLACK, 22),
        "--accent-tint": mixed(WHITE, accent, 8),
        "--on-accent": WHITE,
        "--ring": accent,
    }


def dark_scheme(accent: str) -> Mapping[str, str]:
    """Return the tokens that a brand sets in the dark."""
    light = in_the_dark(accent)
    return {
        "--accent": light,
        "--accent-strong": mixed(light, WHITE, 30),
        "--accent-tint": mixed(DARK_GROUNDS[0], light, 14),
        "--on-accent": mixed(BLACK, accent, 18),
        "--ring": light,
    }
