"""The one base of every error that a caller may cause: a stable code, a sentence that says what to do, and the field.

Errors stand beside the function that raises them and inherit from here; `config/api/errors.py` alone maps codes to HTTP.
"""


class DomainError(Exception):
    """Something the caller asked for cannot be done.  `code` is stable; `field` names the input at fault, in the wire's words."""

    code = "domain_error"

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
