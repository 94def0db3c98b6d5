"""The note that every deed asks for: one line that says to every later reader what it says to its writer."""

import pytest

from ledger.deeds import DeedForm


@pytest.mark.parametrize("note", ["", "   ", "\r\n", "as told\u202e", "\u2066as told", "as\x00told", "as\x1btold", "\ud800", "x" * 201])
def test_a_note_that_says_nothing_or_hides_something_is_refused(note: str) -> None:
    form = DeedForm(None, {"note": note})
    assert list(form.errors) == ["note"]


def test_a_note_of_several_lines_is_kept_as_one() -> None:
    form = DeedForm(None, {"note": " Żółw told us\r\non the\tphone. "})
    assert form.is_valid()
    assert form.cleaned_data == {"note": "Żółw told us on the phone."}
