CREATE TRIGGER compared_batch_stays_a_copy BEFORE UPDATE ON reconciliation_settlementbatch FOR EACH ROW
    WHEN (OLD.matched_at IS NOT NULL AND NEW.copy_of_id IS DISTINCT FROM OLD.copy_of_id)
    EXECUTE FUNCTION compared_batch_is_fixed();
