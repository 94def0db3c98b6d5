"""Disputes over REST, to be read: banks open them, PSPs tell of them, and the evidence goes to the PSP."""

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.endpoint import Endpoint, operation
from payments import queries
from payments.api.asking import READ, asked_for, only
from payments.serializers.disputes import DisputeSerializer, DisputesQuery
from wallet.api import shop_of


class Disputes(Endpoint):
    @operation(READ, query=DisputesQuery, answers={200: DisputeSerializer})
    def get(self, request: Request) -> Response:
        """List disputes

        Newest first.
        """
        return self.answer_page(asked_for(queries.disputes_of(shop_of(request)), request, self.query))


class OneDispute(Endpoint):
    def locate(self, request: Request, *, dispute: str) -> None:  # type: ignore[override]
        self.dispute = only(queries.disputes_of(shop_of(request)).filter(public_id=dispute))

    @operation(READ, answers={200: DisputeSerializer})
    def get(self, request: Request, dispute: str) -> Response:
        """Read a dispute"""
        return self.answer(self.dispute)
