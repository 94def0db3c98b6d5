"""What the database keeps and cannot read: texts sealed with AES-256-GCM under keys that only the environment knows.

What is sealed for one owner opens for no other: the owner is authenticated with it, so that nothing can be moved to another row.  Each
purpose has a ring of keys of its own, a setting that lists them: the first one seals, older ones still open.
"""

import base64
import functools
import hashlib
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.views.decorators.debug import sensitive_variables

NONCE_BYTES = 12  # random: NIST SP 800-38D 8.3 allows 2^32 messages under one key
SEPARATOR = "."


class CannotOpen(Exception):
    """Something sealed does not open: its key is gone, or it is not what was sealed for this owner.  Says whose, and never what is in it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that seals, and the name by which what it sealed says which one opens it."""

    name: str
    cipher: AESGCM


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one purpose: the setting of that name, a list of 32 bytes each in base64."""

    setting: str

    @sensitive_variables()
    def seal(self, plain: str, *, owner: str) -> str:
        """Encrypt the text for its owner under the current key.  Two calls never give the same."""
        nonce = os.urandom(NONCE_BYTES)
        hidden = self.current.cipher.encrypt(nonce, plain.encode(), owner.encode())
        return f"{self.mark}{base64.b64encode(nonce + hidden).decode()}"

    @sensitive_variables()
    def open(self, sealed: str, *, owner: str) -> str:
        """Return what `seal` was given for this owner.  Raises CannotOpen."""
        name, _separator, text = sealed.partition(SEPARATOR)
        key = self.keys.get(name)
        if key is None:
            raise CannotOpen(f"What was sealed for {owner} needs a key that is not in {self.setting}. Put it back there.")
        try:
            hidden = base64.b64decode(text, validate=True)
            return key.cipher.decrypt(hidden[:NONCE_BYTES], hidden[NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, ValueError):
            raise CannotOpen(f"What stands for {owner} is not what was sealed for it: its row was changed by hand.") from None

    @property
    def mark(self) -> str:
        """How everything begins that was sealed with the key that seals now."""
        return f"{self.current.name}{SEPARATOR}"

    @property
    def current(self) -> Key:
        return next(iter(self.keys.values()))

    @property
    def keys(self) -> dict[str, Key]:
        """All keys by name, the current one first."""
        return keys_of(tuple(getattr(settings, self.setting)))


@functools.lru_cache(maxsize=8)
def keys_of(texts: tuple[str, ...]) -> dict[str, Key]:
    found = [base64.b64decode(text, validate=True) for text in texts]
    return {name_of(key): Key(name_of(key), AESGCM(key)) for key in found}


def name_of(key: bytes) -> str:
    return hashlib.sha256(b"name of a key that seals" + key).hexdigest()[:8]
