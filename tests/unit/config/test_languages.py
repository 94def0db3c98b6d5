"""What buyers read stands in six languages, whole; the pages of sellers and staff know two of them."""

import gettext
import re
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils import translation
from django.utils.translation.template import templatize

from config.languages import LanguageMiddleware
from payments.checkout.opening import LANGUAGE_COOKIE

ROOT = Path(settings.BASE_DIR)
OTHERS = [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
OF_THE_DESK = {"apps.py", "models.py", "seller_home.py", "states.py", "timeline.py"}  # of payments/, read by sellers and staff
CALLS = {"gettext": None, "gettext_lazy": None, "_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}

Sentence = tuple[str, ...]  # one form, or singular and plural


def buyers_files() -> Iterator[Path]:
    """Give the files whose words a buyer reads."""
    yield from (path for path in sorted((ROOT / "payments").glob("*.py")) if path.name not in OF_THE_DESK)
    for folder in ("payments/checkout", "payments/methods"):
        yield from sorted((ROOT / folder).glob("*.py"))
    for folder in ("templates", "templates/checkout", "templates/emails"):
        yield from sorted(path for path in (ROOT / folder).iterdir() if path.is_file())


@cache
def buyers_sentences() -> dict[Sentence, str]:
    """Return what is marked for translation in the buyer's files, as makemessages finds it, each with a file where it stands."""
    found: dict[Sentence, str] = {}
    for path in buyers_files():
        source = path.read_text()
        if path.suffix != ".py":
            source = "\n".join(line.strip() for line in templatize(source).splitlines())
        for _line, words, _comments, _context in extract("python", BytesIO(source.encode()), keywords=CALLS):
            found[(words,) if isinstance(words, str) else tuple(words)] = str(path.relative_to(ROOT))
    return found


@cache
def catalog(language: str) -> Catalog:
    with (ROOT / "locale" / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file)


def forms_of(language: str, sentence: Sentence) -> Sentence:
    """Return the translation: one form, or as many as the language has for numbers; nothing if there is none."""
    message = catalog(language).get(sentence[0])
    if message is None or message.fuzzy:
        return ()
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def marks_of(text: str) -> set[str]:
    """Return what must stand in each translation: placeholders of Python and of scripts, and HTML."""
    return set(re.findall(r"%\(\w+\)s|\{\w+\}|</?\w+[^>]*>", text))


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_that_a_buyer_reads_is_translated(language: str) -> None:
    sentences = buyers_sentences()
    assert len(sentences) > 150, "the sentences were not found"
    untranslated = {sentence[0]: file for sentence, file in sentences.items() if not all(forms_of(language, sentence) or [""])}
    assert untranslated == {}


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_placeholders_and_tags_and_have_every_form_for_numbers(language: str) -> None:
    for sentence in buyers_sentences():
        forms = forms_of(language, sentence)
        if len(sentence) == 1:
            assert marks_of(forms[0]) == marks_of(sentence[0]), forms
            continue
        assert len(forms) == catalog(language).num_plurals, forms
        needed, possible = marks_of(sentence[0]) & marks_of(sentence[1]), marks_of(sentence[0]) | marks_of(sentence[1])
        for form in forms:  # "one charge" and the dual of Arabic say their number in words
            assert needed - {"%(count)s"} <= marks_of(form) <= possible, form


def test_nothing_that_sellers_and_staff_read_is_left_in_english() -> None:
    whole = [message for message in catalog("de") if message.id]
    assert [message.id for message in whole if message.fuzzy or not message.string or not all(message.string)] == []


@pytest.mark.parametrize("language", sorted(set(OTHERS) - set(settings.UI_LANGUAGES)))
def test_a_language_of_buyers_alone_holds_their_sentences_alone(language: str) -> None:
    assert {message.id if isinstance(message.id, str) else message.id[0] for message in catalog(language) if message.id} == {
        sentence[0] for sentence in buyers_sentences()
    }


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_compiled_is_what_was_written(language: str) -> None:
    with (ROOT / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalog(language):
        if message.id and message.string and not message.fuzzy and all(message.string):
            if isinstance(message.id, str):
                found = compiled.pgettext(message.context, message.id) if message.context else compiled.gettext(message.id)
                assert found == message.string
            else:
                assert [compiled._catalog[message.id[0], form] for form in range(len(message.string))] == list(message.string)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "asked", "language"),
    [
        ("/checkout/unknown", "fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("/checkout/unknown", "ar-EG", "ar"),
        ("/checkout/unknown", "ko", "en"),
        ("/admin/", "fr-CA,fr;q=0.9,en;q=0.8", "en"),
        ("/admin/", "ja,de;q=0.5", "de"),
        ("/seller/", "ar", "en"),
        ("/seller/payouts", "es-MX, de-AT;q=0.7", "de"),
        ("/nowhere", "es", "en"),
        ("/seller/", "", "en"),
    ],
)
def test_a_page_speaks_only_a_language_that_all_of_it_knows(path: str, asked: str, language: str) -> None:
    assert opened(RequestFactory().get(path, headers={"accept-language": asked})) == language


def test_a_buyers_choice_counts_on_the_buyers_pages_alone() -> None:
    for path, language in (("/checkout/unknown", "ja"), ("/seller/", "en")):
        request = RequestFactory().get(path, headers={"accept-language": "fr"})
        request.COOKIES[LANGUAGE_COOKIE] = "ja"
        assert opened(request) == language


def test_a_seller_who_asks_for_a_buyers_language_by_hand_stays_in_english() -> None:
    request = RequestFactory().get("/seller/", headers={"accept-language": "en"})
    request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = "fr"
    assert opened(request) == "en"


def opened(request: HttpRequest) -> str:
    """Let the middleware have the request, and return the language in which its page is made."""
    response = LanguageMiddleware(lambda _request: HttpResponse(translation.get_language() or ""))(request)
    assert isinstance(response, HttpResponse)
    assert response["Content-Language"] == response.content.decode()
    return response.content.decode()
