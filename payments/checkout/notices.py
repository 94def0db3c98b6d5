"""What the payment page says when something did not go well: what happened, that nothing was charged, what to do now."""

from django.utils.translation import gettext

from payments import choices
from payments.methods.registry import METHODS, MethodNotPossible
from payments.models import CheckoutSession

Notice = dict[str, str]


def cannot_load() -> Notice:
    return {
        "title": gettext("The card form cannot be loaded at the moment."),
        "text": gettext("You were not charged. Wait a moment and try again."),
    }


def cannot_open(method: str) -> Notice:
    """Return the words for a way to pay that the PSP cannot open now."""
    if method == "card":
        return cannot_load()
    return {
        "title": gettext("%(method)s cannot be reached at the moment.") % {"method": label_of(method)},
        "text": gettext("You were not charged. Wait a moment and try again, or choose another way to pay."),
    }


def card_is_refused() -> Notice:
    """Return the words for a saved card that the PSP does not know any more, or does not take."""
    return {
        "title": gettext("The payment did not go through."),
        "text": gettext("You were not charged.") + " " + gettext("Try another card."),
    }


def not_possible(refused: MethodNotPossible) -> Notice:
    """Return the words for a way to pay that is not for this amount or this buyer."""
    return {"title": refused.detail, "text": gettext("You were not charged.")}


def cannot_ask(method: str) -> Notice:
    """Return the words for a PSP that does not say how the session stands; what was approved there is asked for again by us."""
    if method not in ("", "card"):
        return {
            "title": gettext("%(method)s cannot be reached at the moment.") % {"method": label_of(method)},
            "text": gettext("We keep asking what became of your approval. You cannot be charged twice, and you may close this page."),
        }
    return {
        "title": gettext("We cannot reach the card company at the moment."),
        "text": gettext("You were not charged. Wait a moment and try again; your card is still ready."),
    }


def not_confirmed(status: str, *, method: str = "card", failure_code: str = "") -> Notice:
    """Return the words for a session that is not approved."""
    said = {"method": label_of(method)}
    match status, failure_code:
        case "failed", "canceled_by_buyer":
            return {
                "title": gettext("You cancelled %(method)s.") % said,
                "text": gettext("You were not charged. Try again, or choose another way to pay."),
            }
        case "failed", "declined_by_buyer":
            return {
                "title": gettext("You declined on the phone."),
                "text": gettext("You were not charged. Show a new code, or choose another way to pay."),
            }
        case "failed", choices.DECLINED_BY_PROVIDER:
            return {
                "title": gettext("%(method)s is not possible for this purchase.") % said,
                "text": gettext("The provider decides that. You were not charged. Choose another way to pay."),
            }
        case "failed", _ if method == "card":
            return {
                "title": gettext("Your bank did not confirm that it is you."),
                "text": gettext("You were not charged. Try again, or try another card."),
            }
        case "failed", _:
            return {
                "title": gettext("%(method)s did not go through.") % said,
                "text": gettext("You were not charged. Try again, or choose another way to pay."),
            }
        case "in_review", _:
            return {
                "title": gettext("Your order is being looked at."),
                "text": gettext("You were not charged so far. You may close this page, or choose another way to pay."),
            }
        case _ if method == "card":
            return {
                "title": gettext("The card is not confirmed yet."),
                "text": gettext("You were not charged. Fill in the card form and try again."),
            }
        case _:
            return {
                "title": gettext("%(method)s is not approved yet.") % said,
                "text": gettext("You were not charged. Approve it there, or choose another way to pay."),
            }


def about(session: CheckoutSession) -> Notice:
    """Return what is to be said of the session that failed last."""
    return not_confirmed(session.status, method=session.method, failure_code=session.failure_code)


def unused(session: CheckoutSession) -> Notice:
    """Return the words for an approval that could not be used any more."""
    said = {"method": label_of(session.method)}
    reasons = {
        "nothing_to_pay": gettext("Nothing was left to pay."),
        "amount_changed": gettext("The amount to pay had changed meanwhile."),
        "checkout_expired": gettext("This payment link had expired."),
        "too_many_tries": gettext("This payment had been tried too often."),
    }
    reason = reasons.get(session.failure_code, gettext("It was paid, or being paid, in another way."))
    return {
        "title": gettext("Your approval by %(method)s was not used.") % said,
        "text": reason + " " + gettext("You were not charged for it."),
    }


def label_of(method: str) -> str:
    return str(METHODS[method].label) if method in METHODS else method
