"""What people write down about a mismatch, and what they attach to it: kept for ever, with who and when.

An attachment is evidence from outside, and is trusted in nothing: its name is only shown, its kind must be one that we take and its first
bytes must say so too, and it is given back as a download.  Postgres keeps both as they are (migration 0013).
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from ledger.approvals import require_reason
from ledger.errors import DomainError
from ledger.line import plain
from reconciliation.models import Mismatch, MismatchAttachment, MismatchNote
from reconciliation.resolution import NoSuchMismatch

LONGEST_NOTE = 2000
LONGEST_NAME = 100
LARGEST_ATTACHMENT = 4 * 1024 * 1024  # bytes
MOST_ATTACHMENTS = 20  # of a mismatch


class AttachmentRefused(DomainError):
    """A file that cannot be attached: by its kind, its size, or because there are enough, or it is there already."""

    code = "attachment_refused"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach, and what it shows."""

    name: str
    content: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What may be attached: how it is given back, and what its bytes begin with; text, which begins with anything, has no NUL and no markup."""

    media_type: str
    begins_with: bytes = b""

    def is_that_of(self, content: bytes) -> bool:
        if self.begins_with:
            return content.startswith(self.begins_with)
        return b"\0" not in content and not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


ATTACHABLE = {
    "pdf": Kind("application/pdf", b"%PDF-"),
    "png": Kind("image/png", b"\x89PNG\r\n\x1a\n"),
    "jpg": Kind("image/jpeg", b"\xff\xd8\xff"),
    "jpeg": Kind("image/jpeg", b"\xff\xd8\xff"),
    "txt": Kind("text/plain"),
    "csv": Kind("text/csv"),
    "eml": Kind("message/rfc822"),
}


def write(mismatch_id: int, text: str, *, actor: str, now: datetime) -> MismatchNote:
    """Write a note, also on a mismatch that is resolved.  Raises NoSuchMismatch, ReasonMissing for one that says nothing."""
    require_reason(text)
    require_mismatch(mismatch_id)
    return MismatchNote.objects.create(mismatch_id=mismatch_id, text=text.strip()[:LONGEST_NOTE], written_by=actor, written_at=now)


def attach(mismatch_id: int, file: NewFile, *, actor: str, now: datetime) -> MismatchAttachment:
    """Attach a file, also to a mismatch that is resolved.  Raises NoSuchMismatch, AttachmentRefused, ReasonMissing for one without a note."""
    require_reason(file.note)
    name, content = shown(file.name), file.content
    kind = kind_of(name, content)
    require_mismatch(mismatch_id)
    if MismatchAttachment.objects.filter(mismatch=mismatch_id).count() >= MOST_ATTACHMENTS:
        raise AttachmentRefused(f"A mismatch has {MOST_ATTACHMENTS} files at most.", field="file")
    bytes_ = {"content": content, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "media_type": kind.media_type}
    told = {"name": name, "note": file.note[:LONGEST_NOTE], "added_by": actor, "added_at": now}
    try:
        with transaction.atomic():
            return MismatchAttachment.objects.create(mismatch_id=mismatch_id, **told, **bytes_)
    except IntegrityError as error:
        if "file_is_attached_once" not in str(error):
            raise
        raise AttachmentRefused("This very file is attached already.", field="file") from error


def kind_of(name: str, content: bytes) -> Kind:
    """Return what the file is, by its name and by its bytes, which must agree.  Raises AttachmentRefused."""
    kind = ATTACHABLE.get(name.rpartition(".")[2].lower())
    if kind is None or not kind.is_that_of(content):
        raise AttachmentRefused(f"Attach one of these: {', '.join(ATTACHABLE)}. What is in the file must be that, too.", field="file")
    if not 0 < len(content) <= LARGEST_ATTACHMENT:
        raise AttachmentRefused(f"A file to attach has 1 to {LARGEST_ATTACHMENT:,} bytes.", field="file")
    return kind


def shown(name: str) -> str:
    """Return a file's name as it may be shown and offered for saving: no path, nothing that cannot be seen, no dot before it, its ending kept."""
    stem, dot, ending = plain(re.split(r"[/\\]", name)[-1]).strip(" .").rpartition(".")
    return f"{stem[: LONGEST_NAME - 10]}{dot}{ending[:9]}"


def require_mismatch(mismatch_id: int) -> None:
    if not Mismatch.objects.filter(pk=mismatch_id).exists():
        raise NoSuchMismatch("There is no such mismatch. Look at the list of them.")
