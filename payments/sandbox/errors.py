"""How the sandbox says no: one exception that carries HTTP status, stable code, sentence and field; another says nothing."""


class Refusal(Exception):
    """The request was not executed. `status` is the HTTP status, `code` is stable, `field` names what to mend."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def as_wire(self) -> dict[str, object]:
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}


class NoAnswer(Exception):
    """The request was not executed and is not answered: its connection is reset."""
