"""Documents in every script: names in their own letters, and words where their language puts them."""

import io
from typing import Any

import pytest
from django.utils import translation
from pypdf import PdfReader

from wallet.documents.direction import runs_of
from wallet.documents.letters import ARABIC, JAPANESE, LATIN
from wallet.documents.paper import MARGIN, SMALLEST, WIDTH, Paper, width_of

POINTS = 72 / 25.4  # in a millimetre


@pytest.fixture
def paper() -> Paper:
    return blank()


def blank() -> Paper:
    return Paper(title="A document", issuer="Northwind", foot="Northwind")


def places_of(paper: Paper) -> dict[str, float]:
    """Return what stands on the first page, each with how far from its left edge it begins, in millimetres."""
    found: dict[str, float] = {}

    def note(text: str, _space: Any, place: Any, *_font: Any) -> None:
        if text.strip():
            found[text.strip()] = place[4] / POINTS

    PdfReader(io.BytesIO(bytes(paper.output()))).pages[0].extract_text(visitor_text=note)
    return found


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Jürgen Groß", "Jürgen Groß"),
        ("東京書店 (Ada)", "東京書店 (Ada)"),
        ("カ\u3099ラス", "ガラス"),  # as some computers send it, in two letters
        ("مكتبة القاهرة 24", "مكتبة القاهرة 24"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("李娜", "李娜"),
        ("张娜", "ZhangNa"),  # one letter is missing, and half a name would be worse than none
        ("お問い合わせは서울まで", "お問い合わせはSeoUlまで"),
        ("สมชาย", "smchay"),
        ("Ada\u202e", "Ada"),  # nobody turns the rest of a line round
    ],
)
def test_a_name_is_in_its_own_letters_if_a_font_has_them_and_in_latin_ones_if_not(paper: Paper, name: str, shown: str) -> None:
    assert paper.readable(name) == shown


def test_fonts_of_other_scripts_are_opened_for_their_letters_alone(paper: Paper) -> None:
    paper.line_of("Ελλάδα, Дом, 24 × 1…")
    assert paper.families == [LATIN]
    paper.line_of("東京書店")
    assert paper.families == [LATIN, JAPANESE]
    paper.line_of("القاهرة")
    assert paper.families == [LATIN, JAPANESE, ARABIC]


@pytest.mark.parametrize(
    ("words", "from_right", "shown"),
    [
        ("متجر 24 (الرياض)", False, [" (الرياض)", "24", "متجر "]),
        ("NW (متجر 24)", False, ["NW (", "24", "متجر ", ")"]),
        ("المدفوع \u20661,024.90\u00a0EUR\u2069", True, ["1,024.90\u00a0EUR", "المدفوع "]),
        ("\u2066−1.00\u2069", True, ["−1.00"]),
        ("Blue mug × 2", True, ["Blue mug × 2"]),
        ("صفحة 1 من {nb}", True, ["{nb}", " من ", "1", "صفحة "]),
        ("علی\u200cرضا", False, ["علی\u200cرضا"]),
        ("", True, []),
    ],
)
def test_a_line_of_two_directions_is_ordered_as_unicode_orders_it(words: str, from_right: bool, shown: list[str]) -> None:
    runs = runs_of(words, from_right=from_right, alias="{nb}", family_of=lambda _letter: LATIN)
    assert [run.words for run in runs] == shown
    assert "".join(run.words for run in sorted(runs, key=lambda run: run.place)) == words.replace("\u2066", "").replace("\u2069", "")


def test_arabic_letters_are_joined_through_the_marks_above_them(paper: Paper) -> None:
    paper.pen()
    width = {word: width_of(paper.measured(paper.readable(word))) for word in ("تنقل", "تُنقل", "ت", "ن", "ق", "ل")}
    assert width["تُنقل"] == pytest.approx(width["تنقل"])
    assert width["تنقل"] < sum(width[letter] for letter in "تنقل") * 0.8


@pytest.mark.parametrize("language", ["en", "ar"])
def test_columns_stand_where_the_language_begins(language: str) -> None:
    with translation.override(language):
        paper = blank()
        paper.row(["Left", "Right"], [WIDTH - 45, 45.0], numbers=1)
        begins = places_of(paper)
    name, figure = begins["Left"], begins["Right"]
    if language == "en":
        assert name == pytest.approx(MARGIN + 1, abs=0.1)
        assert MARGIN + WIDTH - 12 < figure < MARGIN + WIDTH - 1
    else:
        assert figure == pytest.approx(MARGIN + 1, abs=0.1)
        assert MARGIN + WIDTH - 12 < name < MARGIN + WIDTH - 1


def test_a_figure_after_a_japanese_name_is_in_its_own_font(paper: Paper) -> None:
    """fpdf2's own fallback to a second font leaves the next cell in a wrong one, and its letters become others."""
    paper.row(["東京書店", "1,024.90 EUR"], [WIDTH - 45, 45.0], numbers=1, style="B")
    paper.row(["القاهرة", "89.00 EUR"], [WIDTH - 45, 45.0], numbers=1, style="B")
    assert {"1,024.90 EUR", "89.00 EUR"} <= places_of(paper).keys()


def test_japanese_lines_end_between_letters_and_begin_with_no_full_stop(paper: Paper) -> None:
    paper.pen()
    words = "全額をギフトカードと残高でお支払いいただいたため、銀行やカードの明細には表示されません。"
    for spaces in range(5):  # wherever the lines end
        lines = list(paper.lines_of(paper.readable("あ" * spaces + words * 4)))
        assert "".join(lines) == "あ" * spaces + words * 4
        assert 3 < len(lines) < 8
        assert not [line for line in lines if line[0] in "、。ーっ"]
        assert all(width_of(paper.measured(line)) <= WIDTH for line in lines)


@pytest.mark.parametrize(("language", "letters"), [("en", "long "), ("ja", "東京書店"), ("ar", "مكتبة ")])
def test_a_line_that_is_too_long_is_made_smaller_and_then_shorter(language: str, letters: str) -> None:
    with translation.override(language):
        paper = blank()
        paper.pen()
        runs = paper.fitting(letters * 100, WIDTH)
    assert width_of(runs) <= WIDTH
    assert width_of(runs) > WIDTH - 5
    assert paper.font_size_pt == SMALLEST
    assert max(runs, key=lambda each: each[0].place)[0].words.endswith("…")
