"""The tokens of every page: each pair of words and ground can be read, in the light and in the dark."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).resolve().parents[3] / "static" / "css" / "tokens.css"
LIGHT, DARK = TOKENS.read_text().split("@media (prefers-color-scheme: dark)")

GROUNDS = ("--ground", "--paper", "--sunken")
WORDS = [(word, ground) for word in ("--ink", "--ink-muted", "--accent") for ground in GROUNDS]
STATES = [(f"--{state}", f"--{state}-tint") for state in ("good", "warn", "bad")]
ON_ACCENT = [("--on-accent", "--accent"), ("--on-accent", "--accent-strong"), ("--ink", "--warn-tint"), ("--ink", "--bad-tint")]
BORDERS = [("--line-control", "--paper"), ("--line-control", "--ground"), ("--ring", "--paper"), ("--ring", "--ground")]


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", css))


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_words_stand_out_from_their_ground_by_four_and_a_half(scheme: str) -> None:
    known = colours(scheme)
    weak = {(word, ground): contrast(known[word], known[ground]) for word, ground in WORDS + STATES + ON_ACCENT}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_borders_of_controls_stand_out_by_three(scheme: str) -> None:
    known = colours(scheme)
    weak = {(line, ground): contrast(known[line], known[ground]) for line, ground in BORDERS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3} == {}


def test_both_schemes_name_the_same_colours() -> None:
    assert colours(LIGHT).keys() == colours(DARK).keys()
