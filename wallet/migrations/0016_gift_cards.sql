-- Movements of stored value only grow, as those of wallets do.  (The function is the ledger's.)
CREATE TRIGGER stored_value_entries_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_storedvalueentry
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
