"""Where a page finds its shop's brand."""

from django import template

from wallet import branding

register = template.Library()
register.filter("brand_style", branding.style_address)
register.filter("brand_logo", branding.logo_address)
