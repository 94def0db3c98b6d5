-- What people write down about a mismatch, and attach to it, stays as it is; an attachment is what its size and hash say.
ALTER TABLE reconciliation_mismatchattachment
    ADD CONSTRAINT attachment_is_what_its_hash_says
    CHECK (size = octet_length(content) AND size BETWEEN 1 AND 4194304 AND sha256 = encode(sha256(content), 'hex'));

CREATE TRIGGER mismatch_notes_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_mismatchnote
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER mismatch_attachments_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_mismatchattachment
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
