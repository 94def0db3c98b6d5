"""Pay-in over REST, one module for each kind of object.  config/api/routes.py gives each its address."""

from payments.api.cancellations import OneCancellation, OrderCancellation, PaymentCancellation, StoppedRetries
from payments.api.disputes import Disputes, OneDispute
from payments.api.payments import OneOrder, OnePayment, OrderDelivery, Payments
from payments.api.refunds import LateCharges, OneLateCharge, OneRefund, OrderRefunds, Refunds
from payments.api.stored_value import GiftCards, TopUps

__all__ = [
    "Disputes",
    "GiftCards",
    "LateCharges",
    "OneCancellation",
    "OneDispute",
    "OneLateCharge",
    "OneOrder",
    "OnePayment",
    "OneRefund",
    "OrderCancellation",
    "OrderDelivery",
    "OrderRefunds",
    "PaymentCancellation",
    "Payments",
    "Refunds",
    "StoppedRetries",
    "TopUps",
]
