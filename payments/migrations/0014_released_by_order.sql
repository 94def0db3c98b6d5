-- What was paid before orders were released one by one.  A seller's pending money belongs to the seller's orders, the newest first, to each at
-- most what it brings: its net, less what refunds took, and disputes hold or took.
WITH earned AS MATERIALIZED (
    SELECT payment.id, payment.seller_id, payment.currency, greatest(0, payment.net
        - coalesce((SELECT sum(refund.net) FROM payments_refund AS refund
                    WHERE refund.order_id = payment.id AND refund.status = 'SUCCESS' AND refund.late_charge_id IS NULL), 0)
        - coalesce((SELECT sum(CASE WHEN dispute.status = 'open' THEN dispute.held ELSE least(dispute.lost, dispute.held) - dispute.fee_returned END)
                    FROM payments_dispute AS dispute WHERE dispute.order_id = payment.id), 0)) AS amount
    FROM payments_paymentorder AS payment WHERE payment.status = 'SUCCESS'
), placed AS MATERIALIZED (
    SELECT id, amount, wallet.pending,
           sum(amount) OVER (PARTITION BY wallet.seller_id, wallet.currency ORDER BY id DESC) - amount AS newer
    FROM earned JOIN (SELECT seller_id, currency, pending FROM wallet_wallet) AS wallet USING (seller_id, currency)
)
UPDATE payments_paymentorder AS payment SET unreleased = least(placed.amount, placed.pending - placed.newer)
FROM placed WHERE placed.id = payment.id AND placed.amount > 0 AND placed.pending > placed.newer;

INSERT INTO payments_duerelease (order_id, due_at)
SELECT payment.id, entry.effective_at + interval '14 days'
FROM payments_paymentorder AS payment JOIN ledger_journalentry AS entry ON entry.id = payment.journal_entry_id
WHERE payment.status = 'SUCCESS' ORDER BY payment.id;
