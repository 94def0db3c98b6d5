"""The one kind of view that the REST API has: what each of its methods takes, gives and needs stands in one line above it.

`@operation` declares; authentication, scopes, idempotency, pages, errors and the documentation are made from what it declares, by the
classes that settings and config/api name.  A view parses, makes one call into the domain, and renders.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import QuerySet
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ledger.wire import NoParameters, PageQuery, StrictSerializer

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address: the scope its caller needs, its query parameters, its body, and what it answers by status.

    Where it takes a file, the body is that file's bytes, whatever they are.
    """

    scope: str
    answers: Mapping[int, type[StrictSerializer]]
    query: type[StrictSerializer] = NoParameters
    body: type[StrictSerializer] | None = None
    takes_file: bool = False

    @property
    def is_list(self) -> bool:
        return issubclass(self.query, PageQuery)


def operation(
    scope: str,
    *,
    answers: Mapping[int, type[StrictSerializer]],
    query: type[StrictSerializer] = NoParameters,
    body: type[StrictSerializer] | None = None,
    takes_file: bool = False,
) -> Callable[[Method], Method]:
    """Declare what a view's method is, for everyone who serves or documents it."""

    def declare(method: Method) -> Method:
        method.operation = Operation(scope, answers, query, body, takes_file)  # type: ignore[attr-defined]
        return method

    return declare


def operation_of(view: type[APIView], method: str) -> Operation | None:
    """Return what the view declares for an HTTP method; None if it has no such method."""
    return getattr(getattr(view, "get" if method == "HEAD" else method.lower(), None), "operation", None)


class Endpoint(APIView):
    """An address of the REST API.  Checked in this order: key, scope, rate; what the address names; parameters; then the method runs."""

    http_method_names = ["get", "head", "post"]
    query: dict[str, Any]

    @property
    def operation(self) -> Operation | None:
        return operation_of(type(self), self.request.method or "")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.locate(request, **kwargs)
        if self.operation:
            self.query = read_query(request, self.operation.query)

    def locate(self, request: Request, **kwargs: Any) -> None:
        """Find what the address names, for the caller's own shop.  Raises Http404."""

    def read(self, request: Request) -> dict[str, Any]:
        """Return the body, checked and converted.  Raises ValidationError with every field that is wrong, ParseError where there is no body."""
        if self.operation is None or self.operation.body is None:
            raise TypeError(f"{type(self).__name__} takes no body")
        if request.stream is None:
            raise ParseError(self.operation.body.if_empty, code="required")
        body = self.operation.body(data=request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def answer(self, thing: Any, *, status: int = 200) -> Response:
        """Render the thing as this operation says it answers with that status."""
        if self.operation is None:
            raise TypeError(f"{type(self).__name__} declares no operation")
        return Response(self.operation.answers[status](thing).data, status=status)

    def answer_page(self, rows: QuerySet[Any]) -> Response:
        """Render one page of the rows, newest first, as this operation says."""
        if self.operation is None:
            raise TypeError(f"{type(self).__name__} declares no operation")
        pages: Any = self.settings.DEFAULT_PAGINATION_CLASS()
        page = pages.paginate_queryset(rows, self.request, view=self)
        response: Response = pages.get_paginated_response(self.operation.answers[200](page, many=True).data)
        return response


def read_query(request: Request, parameters: type[StrictSerializer]) -> dict[str, Any]:
    """Return the query parameters, checked and converted.  Raises ValidationError for one that is unknown, wrong or given twice."""
    given = request.query_params
    twice = {
        name[:60]: [ErrorDetail("This parameter is given twice.", code="given_twice")] for name in given if len(given.getlist(name)) > 1
    }
    if twice:
        raise ValidationError(twice)
    query = parameters(data=given.dict())
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)
