-- Wallet entries and messages only grow.  (The function is the ledger's.)
CREATE TRIGGER entries_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_walletentry
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER messages_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_outboxmessage
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- Room on each page, so that a movement stays a HOT update.
ALTER TABLE wallet_wallet SET (fillfactor = 50);
