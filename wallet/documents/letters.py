"""The letters that documents are set in: Roboto's, and those of a second and a third font for scripts that Roboto does not have.

Roboto has Latin, Greek and Cyrillic letters; IBM Plex Sans Arabic has the Arabic ones, Noto Sans JP kana and kanji, in one weight.  The two are
packages like Roboto, with free licences (SIL OFL 1.1) and nothing of the system, and take part only in a document that holds a letter of
theirs: Noto's 16,700 glyphs take a tenth of a second to open and another two to be reduced to those that were used.
"""

import re
import unicodedata
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from anyascii import anyascii

DIRECTIONS = frozenset("\u200e\u200f\u2066\u2067\u2068\u2069")  # marks and isolates: they order the letters, and are none
ARAB = "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"
KANA = "\u3000-\u33ff\uff00-\uffef"  # with the marks between them
HAN = "\u2e80-\u2fdf\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
OF_ONE_SCRIPT = re.compile(rf"[{ARAB}]+|[{KANA}]+|[{HAN}]+|[^{ARAB}{KANA}{HAN}]+")
OPENS, ENDS = "「『（［【〈《", "」』）］】〉》、。，．：；・ー！？々ぁぃぅぇぉっゃゅょァィゥェォッャュョ"  # end no line, begin none
PIECE = re.compile(rf"[{OPENS}]*(?:[{KANA}{HAN}]|[^\s{KANA}{HAN}]+)[{ENDS}]*\s*|\s+")


@dataclass(frozen=True, slots=True)
class Family:
    """A font by its weights (fpdf2's styles), and which letters may be in it."""

    name: str
    package: str
    folder: str
    files: Mapping[str, str]
    letters: re.Pattern[str]

    def paths(self) -> Iterator[tuple[str, str]]:
        """Give each weight with the path of its file."""
        for style, name in self.files.items():
            yield style, str(resources.files(self.package).joinpath(self.folder, name))


LATIN = Family("Roboto", "font_roboto", "files", {"": "Roboto-Regular.ttf", "B": "Roboto-Medium.ttf"}, re.compile("."))
ARABIC = Family(
    "PlexArabic",
    "fontpkg_ibm_plex_sans_arabic",
    "files",
    {"": "IBMPlexSansArabic-Regular.ttf", "B": "IBMPlexSansArabic-Medium.ttf"},
    re.compile(f"[{ARAB}]"),
)
JAPANESE = Family(
    "NotoJapanese",
    "pylopdf_fonts_jp",
    "",
    {"": "NotoSansJP-Regular.otf"},
    re.compile(f"[{KANA}{HAN}]"),
)
OTHERS = (ARABIC, JAPANESE)


def readable(words: str, *, latin: Container[int], known: Container[int]) -> str:
    """Return the words in letters that the fonts have: Roboto's (`latin`), or those of all fonts (`known`).

    Letters of one script that stand together are written in one way: if a letter is missing, they are all written in Latin ones (anyascii), so that
    no name is left out, breaks a page, or is half of each.
    """
    composed = unicodedata.normalize("NFC", words)
    return "".join(written(part, latin=latin, known=known) for part in OF_ONE_SCRIPT.findall(composed))


def written(part: str, *, latin: Container[int], known: Container[int]) -> str:
    has = known if all(ord(letter) in known for letter in part if letter.isalpha()) else latin
    return "".join(letter if ord(letter) in has or letter in DIRECTIONS else anyascii(letter) for letter in part)


def pieces_of(words: str) -> list[str]:
    """Return the words in pieces between which a line may end: at spaces, and in Japanese everywhere but before a mark or a small letter."""
    return PIECE.findall(words)
