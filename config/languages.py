"""In which language a page speaks.  The buyer's pages know all of LANGUAGES; those of sellers and staff know UI_LANGUAGES.

A browser that asks for another language gets English: a whole page of it, never one that is half in the buyer's language.  The checkout's own
views then choose by the payment (payments/checkout/opening.py); here is decided for what answers in their place: unknown links, errors, refusals.
"""

from collections.abc import Collection

from django.conf import settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import translation
from django.utils.translation.trans_real import parse_accept_lang_header

from payments.checkout.opening import LANGUAGE_COOKIE

BUYERS_PAGES = "/checkout/"


class LanguageMiddleware(LocaleMiddleware):
    """Django's own, with the languages that the page has.  They are `request.languages`, for its menu."""

    def process_request(self, request: HttpRequest) -> None:
        languages = languages_of(request.path)
        request.languages = languages  # type: ignore[attr-defined]
        translation.activate(language_of(request, languages))
        request.LANGUAGE_CODE = translation.get_language()


def languages_of(path: str) -> Collection[str]:
    """Return the languages in which the page at this path can be read."""
    return tuple(dict(settings.LANGUAGES)) if path.startswith(BUYERS_PAGES) else settings.UI_LANGUAGES


def language_of(request: HttpRequest, languages: Collection[str]) -> str:
    """Return what the reader chose, else the first that the browser asks for, else English."""
    asked = parse_accept_lang_header(request.headers.get("Accept-Language", "").lower())
    chosen = [request.COOKIES.get(name, "") for name in (LANGUAGE_COOKIE, settings.LANGUAGE_COOKIE_NAME)]
    for tag in (*chosen, *(tag for tag, _weight in asked)):
        try:
            language = translation.get_supported_language_variant(tag)
        except LookupError:
            continue
        if language in languages:
            return language
    return settings.LANGUAGE_CODE
