"""A brand's colours: refused where nobody could read them, and readable in the light and in the dark wherever they are taken."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet import colours

TOKENS = Path(__file__).resolve().parents[3] / "static" / "css" / "tokens.css"
ANY = st.builds("#{:06x}".format, st.integers(0, 0xFFFFFF))


def test_the_grounds_are_those_of_our_pages() -> None:
    light, dark = (dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", css)) for css in TOKENS.read_text().split("prefers-color-scheme: dark"))
    names = ("--paper", "--ground", "--sunken")
    assert [light[name] for name in names] == list(colours.GROUNDS)
    assert [dark[name] for name in names] == list(colours.DARK_GROUNDS)


def test_contrast_is_wcags() -> None:
    assert colours.contrast("#000000", "#ffffff") == 21
    assert round(colours.contrast("#777777", "#ffffff"), 2) == Decimal("4.48")


@pytest.mark.parametrize(("accent", "ratio", "nearest"), [("#ffcc00", "1.33", "#836900"), ("#2a50b0", "6.41", "#2a50b0")])
def test_a_colour_that_cannot_be_read_has_a_near_one_that_can(accent: str, ratio: str, nearest: str) -> None:
    assert (f"{colours.legibility(accent):.2f}", colours.nearest(accent)) == (ratio, nearest)


@given(ANY)
def test_whatever_is_taken_can_be_read_in_both_schemes(accent: str) -> None:
    taken = colours.nearest(accent)
    light, dark = colours.light_scheme(taken), colours.dark_scheme(taken)
    pairs = [
        *(
            (scheme["--accent"], ground)
            for scheme, grounds in ((light, colours.GROUNDS), (dark, colours.DARK_GROUNDS))
            for ground in grounds
        ),
        *((scheme["--on-accent"], scheme[name]) for scheme in (light, dark) for name in ("--accent", "--accent-strong")),
        *(("#141923", light["--accent-tint"]), ("#eef0f5", dark["--accent-tint"])),  # --ink on it
    ]
    assert {pair: colours.contrast(*pair) for pair in pairs if colours.contrast(*pair) < colours.LEAST} == {}
