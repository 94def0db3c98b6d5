"""What a page says of the receipt that goes out by e-mail."""

from django import template

from payments import receipts

register = template.Library()
register.filter("mailed_to", receipts.mailed_to)
