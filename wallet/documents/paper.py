"""The paper that PDFs are written on: A4, our tokens' colours, Roboto, and a foot with the page's number.

fpdf2 draws it, in the language that is active when it is made: from right to left in Arabic, the columns mirrored.  Letters that Roboto does not
have come from other fonts (letters.py), and which of them stands where on a line is ours to say (direction.py).
"""

from bisect import bisect
from collections import ChainMap
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import accumulate

from django.utils import translation
from django.utils.translation import gettext as _
from fpdf import FPDF
from fpdf.enums import TextDirection
from fpdf.fonts import TTFFont
from fpdf.line_break import Fragment

from wallet.documents import letters
from wallet.documents.direction import Run, runs_of
from wallet.documents.letters import LATIN, Family

INK, MUTED, LINE, ACCENT = (20, 25, 35), (82, 92, 109), (224, 228, 235), (42, 80, 176)  # static/css/tokens.css, light
MARGIN, FOOT = 18, 16
WIDTH = 210 - 2 * MARGIN
INSET = 1.0  # between a cell's edge and its words
TEXT, SMALL, FIGURE, TITLE, SMALLEST = 9.0, 7.5, 13.0, 18.0, 5.0  # points
ROW = 6.0  # millimetres
PAGES = "{nb}"  # fpdf2 puts the number of pages here


class Paper(FPDF):
    """A document of a shop.  What `foot` says stands at the bottom of each page, beside the page's number."""

    def __init__(self, *, title: str, issuer: str, foot: str) -> None:
        super().__init__(format="A4")
        self.foot = foot
        self.from_right = translation.get_language_bidi()
        self.families: list[Family] = []
        self.load(LATIN)
        self.set_title(title)
        self.set_author(issuer)
        self.set_creator("Onebook")
        self.set_lang(translation.get_language() or "en")
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.c_margin = 0
        self.set_auto_page_break(auto=False)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-FOOT)
        self.pen(SMALL, MUTED)
        self.columns([self.foot, self.page_words()], [WIDTH - 30, 30], numbers=1, height=5)

    def page_words(self) -> str:
        """Return which page this is, of how many."""
        return _("Page %(page)s of {nb}") % {"page": self.page_no()}

    def pen(self, size: float = TEXT, colour: tuple[int, int, int] = INK, *, style: str = "") -> None:
        self.set_font(LATIN.name, style, size)
        self.set_text_color(*colour)

    def line_of(self, words: str, size: float = TEXT, colour: tuple[int, int, int] = INK, *, style: str = "") -> None:
        """Write one line across the page, made smaller where it would not fit."""
        self.pen(size, colour, style=style)
        self.columns([words], [WIDTH], numbers=0, height=size * 0.55)

    def paragraph(self, words: str, size: float = TEXT, colour: tuple[int, int, int] = INK) -> None:
        """Write as many lines as it takes."""
        self.pen(size, colour)
        for line in self.lines_of(self.readable(words)):
            self.columns([line], [WIDTH], numbers=0, height=size * 0.5)

    def gap(self, height: float) -> None:
        self.set_y(self.get_y() + height)

    def rule(self) -> None:
        self.set_draw_color(*LINE)
        self.set_line_width(0.2)
        self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())

    def row(self, cells: Sequence[str], widths: Sequence[float], *, numbers: int, style: str = "") -> None:
        """Write a row of a table; its last `numbers` cells are figures.  What is too wide for its cell is written smaller."""
        self.pen(TEXT - 1, style=style)
        self.columns(cells, widths, numbers=numbers, height=ROW)
        self.rule()

    def head_row(self, cells: Sequence[str], widths: Sequence[float], *, numbers: int) -> None:
        """Write the titles of a table's columns."""
        self.pen(SMALL, MUTED)
        self.columns(cells, widths, numbers=numbers, height=ROW)
        self.rule()

    def has_room_for(self, height: float) -> bool:
        return bool(self.get_y() + height <= self.h - FOOT - 4)

    def columns(self, cells: Sequence[str], widths: Sequence[float], *, numbers: int, height: float) -> None:
        """Write cells beside each other from the side where reading begins, the last `numbers` of them to their other side."""
        top, taken = self.get_y(), 0.0
        for index, (words, width) in enumerate(zip(cells, widths, strict=True)):
            left = MARGIN + (WIDTH - taken - width if self.from_right else taken)
            self.set_xy(left, top)
            self.cell_of(words, width, height, at_end=index >= len(cells) - numbers)
            taken += width
        self.set_xy(MARGIN, top + height)

    def cell_of(self, words: str, width: float, height: float, *, at_end: bool) -> None:
        """Write a line into the cell that begins where the pen is; the pen stays as it was."""
        style, size, room = self.font_style, self.font_size_pt, width - 2 * INSET
        runs = self.fitting(words, room)
        left = self.get_x() + INSET + (room - width_of(runs) if at_end != self.from_right else 0)
        places = accumulate((width for _run, width in runs), initial=left)
        placed = [(run, place) for (run, _width), place in zip(runs, places, strict=False)]
        for run, place in sorted(placed, key=lambda each: each[0].place):  # in the order of reading, for those who listen or copy
            self.set_x(place)
            self.take(run, style=style)
            self.cell(h=height, text=run.words)
        self.put_back(style)
        self.set_font_size(size)

    def fitting(self, words: str, width: float) -> list[tuple[Run, float]]:
        """Return the words as they can be written, having made the pen smaller, or the words shorter, until they fit."""
        shown = self.readable(words)
        runs = self.measured(shown)
        if width_of(runs) > width:
            self.set_font_size(max(SMALLEST, self.font_size_pt * width / width_of(runs) // 0.5 * 0.5))
            runs = self.measured(shown)
        if width_of(runs) > width:
            cuts = [f"{shown[:kept]}…" for kept in range(len(shown))]
            runs = self.measured(cuts[bisect(cuts, width, key=lambda cut: width_of(self.measured(cut))) - 1])
        return runs

    def measured(self, words: str) -> list[tuple[Run, float]]:
        """Return the line as runs from left to right, each with its width."""
        if words.isascii() and not self.from_right:
            return [(Run(words, LATIN), self.get_string_width(words))] if words else []
        runs, style = [], self.font_style
        for run in runs_of(words, from_right=self.from_right, alias=PAGES, family_of=self.family_of):
            self.take(run, style=style)
            runs.append((run, self.get_string_width(run.words)))
        self.put_back(style)
        return runs

    def take(self, run: Run, *, style: str) -> None:
        """Take the pen for a run: its font, in its one weight if need be; its letters joined (by HarfBuzz) if it runs from right to left."""
        self.set_font(run.family.name, style if style in run.family.files else "")
        self.set_text_shaping(run.from_right, direction=TextDirection.RTL)

    def put_back(self, style: str) -> None:
        self.set_font(LATIN.name, style)
        self.set_text_shaping(False)

    def _preload_bidirectional_text(self, text: str, markdown: bool) -> Sequence[Fragment]:
        """Keep a run that runs from right to left whole: fpdf2 would part letters from the marks above them, which are of no script."""
        if self.text_shaping is None:
            return super()._preload_bidirectional_text(text, markdown)
        self.text_shaping.update(paragraph_direction=TextDirection.RTL, fragment_direction=TextDirection.RTL)
        return [Fragment(text, self._get_current_graphics_state(), self.k)]

    def lines_of(self, words: str) -> Iterator[str]:
        """Give the words in lines that fit."""
        line = ""
        for piece in letters.pieces_of(words):
            if line and width_of(self.measured(f"{line}{piece}".rstrip())) > WIDTH - 2 * INSET:
                yield line.rstrip()
                line = ""
            line += piece
        yield line.rstrip()

    def load(self, family: Family) -> None:
        for style, path in family.paths():
            self.add_font(family.name, style, path)
        self.families.append(family)

    def readable(self, words: str) -> str:
        """Return the words in letters that the fonts have, with the fonts that they need."""
        if words.isascii():
            return words
        for family in letters.OTHERS:
            if family not in self.families and family.letters.search(words):
                self.load(family)
        return letters.readable(words, latin=self.letters_of(LATIN), known=ChainMap(*map(self.letters_of, self.families)))

    def family_of(self, letter: str) -> Family:
        """Return the first font that has the letter."""
        return next((family for family in self.families if ord(letter) in self.letters_of(family)), LATIN)

    def letters_of(self, family: Family) -> MutableMapping[int, str]:
        """Return the font's glyphs by their letters."""
        font = self.fonts[family.name.lower()]
        return font.cmap if isinstance(font, TTFFont) else {}


def width_of(runs: Sequence[tuple[Run, float]]) -> float:
    return sum(width for _run, width in runs)
