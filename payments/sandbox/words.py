"""What buyers read, in the language of the session's locale. Every language says the same (languages/)."""

from collections.abc import Mapping

from payments.sandbox.languages import ar, de, en, es, fr, ja

LANGUAGES: Mapping[str, Mapping[str, str]] = {module.WORDS["language"]: module.WORDS for module in (en, de, fr, es, ar, ja)}
RIGHT_TO_LEFT = ("ar",)


def for_locale(locale: str) -> Mapping[str, str]:
    """Return the words of the locale's language ("de-AT" is German), English for everybody else; `direction` is how it is written."""
    language = locale.lower().replace("_", "-").partition("-")[0]
    chosen = LANGUAGES.get(language, LANGUAGES["en"])
    return {**chosen, "direction": "rtl" if chosen["language"] in RIGHT_TO_LEFT else "ltr"}
