"""The paper that PDFs are written on: A4, our tokens' colours, Roboto, and a foot with the page's number.

fpdf2 draws it.  Roboto has the letters of Latin, Greek and Cyrillic scripts; a letter of another script is written in Latin letters
(anyascii), so that no name is left out and none breaks a page.
"""

from collections.abc import Sequence
from importlib import resources

from anyascii import anyascii
from django.utils.translation import gettext as _
from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos
from fpdf.fonts import TTFFont

INK, MUTED, LINE, ACCENT = (20, 25, 35), (82, 92, 109), (224, 228, 235), (42, 80, 176)  # static/css/tokens.css, light
FONTS = {"": "Roboto-Regular.ttf", "B": "Roboto-Medium.ttf"}
FONT = "Roboto"
MARGIN, FOOT = 18, 16
WIDTH = 210 - 2 * MARGIN
TEXT, SMALL, FIGURE, TITLE = 9.0, 7.5, 13.0, 18.0  # points
ROW = 6.0  # millimetres


class Paper(FPDF):
    """A document of a shop to a seller.  What `foot` says stands at the bottom of each page, beside the page's number."""

    def __init__(self, *, title: str, issuer: str, foot: str) -> None:
        super().__init__(format="A4")
        self.foot = foot
        for style, name in FONTS.items():
            self.add_font(FONT, style, font_file(name))
        self.set_title(title)
        self.set_author(issuer)
        self.set_creator("Onebook")
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(auto=False)
        self.set_lang("en")
        self.add_page()

    def footer(self) -> None:
        self.set_y(-FOOT)
        self.pen(SMALL, MUTED)
        self.cell(WIDTH - 30, 5, self.fitting(self.foot, WIDTH - 30))
        self.cell(30, 5, _("Page %(page)s of {nb}") % {"page": self.page_no()}, align=Align.R)

    def pen(self, size: float = TEXT, colour: tuple[int, int, int] = INK, *, style: str = "") -> None:
        self.set_font(FONT, style, size)
        self.set_text_color(*colour)

    def line_of(self, words: str, size: float = TEXT, colour: tuple[int, int, int] = INK, *, style: str = "") -> None:
        """Write one line across the page, made smaller where it would not fit."""
        self.pen(size, colour, style=style)
        self.cell(WIDTH, size * 0.55, self.fitting(words, WIDTH), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def paragraph(self, words: str, size: float = TEXT, colour: tuple[int, int, int] = INK) -> None:
        self.pen(size, colour)
        self.multi_cell(WIDTH, size * 0.5, self.readable(words), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def gap(self, height: float) -> None:
        self.set_y(self.get_y() + height)

    def rule(self) -> None:
        self.set_draw_color(*LINE)
        self.set_line_width(0.2)
        self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())

    def row(self, cells: Sequence[str], widths: Sequence[float], *, numbers: int, style: str = "") -> None:
        """Write a row of a table; its last `numbers` cells are figures.  What is too wide for its cell is written smaller."""
        for index, (words, width) in enumerate(zip(cells, widths, strict=True)):
            align = Align.R if index >= len(cells) - numbers else Align.L
            self.pen(TEXT - 1, style=style)
            self.cell(width, ROW, self.fitting(words, width - 2), align=align)
            self.set_font(FONT, style, TEXT - 1)
        self.set_xy(MARGIN, self.get_y() + ROW)
        self.rule()

    def head_row(self, cells: Sequence[str], widths: Sequence[float], *, numbers: int) -> None:
        """Write the titles of a table's columns."""
        for index, (words, width) in enumerate(zip(cells, widths, strict=True)):
            self.pen(SMALL, MUTED)
            self.cell(width, ROW, self.fitting(words, width - 2), align=Align.R if index >= len(cells) - numbers else Align.L)
        self.set_xy(MARGIN, self.get_y() + ROW)
        self.rule()

    def has_room_for(self, height: float) -> bool:
        return bool(self.get_y() + height <= self.h - FOOT - 4)

    def readable(self, words: str) -> str:
        """Return the words in letters that the font has."""
        font = self.fonts[FONT.lower()]
        known = font.cmap if isinstance(font, TTFFont) else {}
        return "".join(letter if ord(letter) in known else anyascii(letter) for letter in words)

    def fitting(self, words: str, width: float) -> str:
        """Return the words as they can be written, having made the pen smaller, or the words shorter, until they fit."""
        shown = self.readable(words)
        while self.get_string_width(shown) > width and self.font_size_pt > 5:
            self.set_font_size(self.font_size_pt - 0.5)
        while self.get_string_width(shown) > width and len(shown) > 1:
            shown = f"{shown.rstrip('…')[:-1]}…"
        return shown


def font_file(name: str) -> str:
    return str(resources.files("font_roboto").joinpath("files", name))
