"""Who calls, and what they may do: an API key in `Authorization: Bearer`, and the scope that the operation names.

Missing, wrong or revoked is 401; a key without the scope is 403 and is told which one.  Settings name these classes, and REST framework
reads them while it makes its views: nothing here may import a view.
"""

from typing import Any

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from wallet import api_keys
from wallet.models import ApiKey


class ApiKeyAuthentication(BaseAuthentication):
    """`request.auth` becomes the ApiKey, with its shop; there is no user behind a key."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        scheme, _space, token = get_authorization_header(request).decode("latin-1").strip().partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer" or not token:
            raise AuthenticationFailed("Send your API key as `Authorization: Bearer ob_test_...`.", code="api_key_invalid")
        key = api_keys.find(token.strip())
        if key is None:
            raise AuthenticationFailed("This API key is not known here. Check for a typing mistake.", code="api_key_invalid")
        if key.revoked_at is not None:
            raise AuthenticationFailed(f"The API key {key.prefix}... was revoked. Use another one.", code="api_key_revoked")
        api_keys.note_use(key, now=timezone.now())
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="onebook"'


class HasScope(BasePermission):
    """The key must have the scope of the operation."""

    def has_permission(self, request: Request, view: Any) -> bool:
        key: Any = request.auth
        if key is None:
            raise NotAuthenticated("Send your API key as `Authorization: Bearer ob_test_...`.", code="api_key_missing")
        if view.operation is not None and view.operation.scope not in key.scopes:
            said = f"This API key lacks the scope {view.operation.scope}. Use a key that has it."
            raise PermissionDenied(said, code="scope_missing")
        return True
