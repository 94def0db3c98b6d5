"""A QR code drawn as SVG for a page under a strict CSP: no style, no script, black on white in every colour scheme, with its quiet zone."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import segno
from django.utils.html import format_html
from django.utils.safestring import SafeString

QUIET_ZONE = 4  # modules on each side (ISO/IEC 18004)


def svg(text: str, *, label: str) -> SafeString:
    """Draw the text as a QR code that bears 15 % of damage; `label` is what a screen reader says.

    The picture has no size of its own: its class `qr` gives it one.
    """
    code = segno.make(text, error="m", micro=False, boost_error=False)
    side = code.symbol_size(border=QUIET_ZONE)[0]
    dark = "".join(f"M{x} {y}.5h{width}" for x, y, width in runs(code.matrix_iter(border=QUIET_ZONE)))
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="qr" viewBox="0 0 {side} {side}" role="img" aria-label="{label}" shape-rendering="crispEdges">'
        '<path fill="#fff" d="M0 0h{side}v{side}H0z"/><path stroke="#000" d="{dark}"/></svg>',
        side=side,
        label=label,
        dark=dark,
    )


def runs(rows: Iterable[Iterable[int]]) -> Iterator[tuple[int, int, int]]:
    """Yield the place and the width of each run of dark modules."""
    for y, row in enumerate(rows):
        x = 0
        for is_dark, modules in groupby(row, key=bool):
            width = len(list(modules))
            if is_dark:
                yield x, y, width
            x += width
