"""Exchange rates over REST: the same for every shop."""

from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from wallet import rates
from wallet.api import READ
from wallet.conversion_serializers import RateSerializer, RatesQuery


class Rates(Endpoint):
    @operation(READ, query=RatesQuery, answers={200: RateSerializer})
    def get(self, request: Request) -> Response:
        """Read an exchange rate

        The one by which the platform would convert now; without one, or with one that is too old, 409.
        """
        try:
            return self.answer(rates.pair(self.query["base"], self.query["quote"], now=clock.now()))
        except DomainError as error:
            error.field = {"amount": "base", "to": "quote"}.get(error.field, error.field)
            raise
