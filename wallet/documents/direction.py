"""In which order words stand on a line where some run from right to left: Unicode's bidirectional algorithm, as fpdf2 has it.

fpdf2 orders the words of a cell by itself, but on two levels only: a number in an Arabic name in an English line would stand on its wrong side.
It picks fonts for single letters by itself, too, and then writes the next cell in a wrong one.  So it gets runs that need neither.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from fpdf.bidi import BidiParagraph
from fpdf.enums import TextDirection

from wallet.documents.letters import DIRECTIONS, Family

FIRST_FROM_RIGHT = "\u0590"  # no letter before Hebrew's block runs from right to left


@dataclass(frozen=True, slots=True)
class Run:
    """Words that are drawn in one go, in one font, in the order in which they are read.  `place` orders the runs of a line as they are read."""

    words: str
    family: Family
    from_right: bool = False
    place: int = 0


def runs_of(words: str, *, from_right: bool, alias: str, family_of: Callable[[str], Family]) -> list[Run]:
    """Return the line as runs from left to right, for a page that is read from the right or not.  `alias` is held together."""
    runs: list[Run] = []
    for part, is_from_right, place in parts_of(words, from_right=from_right, alias=alias):
        found = [(family, "".join(letters)) for family, letters in groupby(part, family_of)]
        in_order = [Run(letters, family, is_from_right, place + index) for index, (family, letters) in enumerate(found)]
        runs += reversed(in_order) if is_from_right else in_order
    return runs


def parts_of(words: str, *, from_right: bool, alias: str) -> Iterator[tuple[str, bool, int]]:
    """Give the line in parts from left to right, each with its direction and the place where it begins."""
    if not from_right and all(letter < FIRST_FROM_RIGHT for letter in words):
        yield words, False, 0
        return
    line = BidiParagraph(words, base_direction=TextDirection.RTL if from_right else TextDirection.LTR, alias=alias, preserve_bn_chars=True)
    for before, letter in pairwise(line.get_characters()):
        if letter.original_bidi_class == "BN":  # such as what keeps two letters from being joined: it stays where they are
            letter.embedding_level = before.embedding_level
    for level, group in groupby(line.get_reordered_characters(), key=lambda each: each.embedding_level):
        is_from_right = bool(level % 2)
        shown = list(group)
        read = shown[::-1] if is_from_right else shown
        part = "".join(each.character for each in read if each.character not in DIRECTIONS)
        yield part.replace(line.sentinel, alias) if line.sentinel else part, is_from_right, read[0].character_index
