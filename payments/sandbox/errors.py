"""How the sandbox says no: one exception that carries HTTP status, stable code, sentence and field."""


class Refusal(Exception):
    """The request was not executed. `status` is the HTTP status, `code` is stable, `field` names what to mend."""

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def as_wire(self) -> dict[str, object]:
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}
