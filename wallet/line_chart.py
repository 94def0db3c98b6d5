"""A line through twelve months, as points to draw: pure geometry, with the words for its axes made by whoever asks.

The picture is 1200 by 100 and is stretched to whatever room it gets (the template draws lines that keep their width), so nothing in it is
text.  Coordinates are strings: a page in German would write them with a comma.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = 1200, 100
STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
LINES = 3  # at most so many parts between the lowest and the highest line across


@dataclass(frozen=True, slots=True)
class Across:
    """A line across the picture, and the value for which it stands."""

    value: Decimal
    y: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The points of the line from left to right, the same as a path, and the lines across from top to bottom."""

    points: tuple[tuple[str, str], ...]
    path: str
    area: str
    across: tuple[Across, ...]


def drawn(values: Sequence[Decimal]) -> Drawing:
    """Draw the values, each in the middle of a column of its own; nothing is always on the picture."""
    lowest, highest = min(Decimal(0), *values), max(Decimal(0), *values)
    step = step_over(highest - lowest)
    below, above = (abs(end) // step + (1 if end % step else 0) for end in (lowest, highest))
    bottom, top = -below * step, max(above, 1 - below) * step
    column = Decimal(WIDTH) / len(values)
    points = tuple((text(column * index + column / 2), text(height(value, bottom, top))) for index, value in enumerate(values))
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    ground = text(height(Decimal(0), bottom, top))
    lines = [bottom + step * number for number in range(int((top - bottom) / step) + 1)]
    across = tuple(Across(value, text(height(value, bottom, top))) for value in reversed(lines))
    return Drawing(points, path, f"{path} L{points[-1][0]} {ground} L{points[0][0]} {ground} Z", across)


def step_over(span: Decimal) -> Decimal:
    """Return the least round number (1, 2, 2.5 or 5 times a power of ten) of which LINES reach over the span."""
    if not span:
        return Decimal(1)
    least = span / LINES
    power = Decimal(1).scaleb(least.adjusted())
    return next(step * power for step in STEPS if step * power >= least)


def height(value: Decimal, bottom: Decimal, top: Decimal) -> Decimal:
    return HEIGHT * (top - value) / (top - bottom)


def text(coordinate: Decimal) -> str:
    return f"{coordinate:.2f}"
