-- aws_cur_treatment(...): what normalisation makes of a CUR line, by docs/sources/aws-cur.md; NULL for a type that the
-- page doesn't list, which is then rejected, never guessed.
CREATE OR REPLACE MACRO aws_cur_treatment(line_item_type, reservation_arn, product_code, description) AS
    CASE line_item_type
        WHEN 'Usage' THEN 'usage'
        WHEN 'SavingsPlanCoveredUsage' THEN 'plan usage'
        WHEN 'SavingsPlanNegation' THEN 'netted'
        WHEN 'DiscountedUsage' THEN 'reserved usage'
        WHEN 'Tax' THEN 'tax'
        WHEN 'SavingsPlanRecurringFee' THEN 'plan fee'
        WHEN 'SavingsPlanUpfrontFee' THEN 'plan upfront'
        WHEN 'RIFee' THEN 'reservation fee'
        WHEN 'Fee' THEN CASE WHEN reservation_arn IS NULL THEN 'fee' ELSE 'reservation upfront' END
        WHEN 'Refund' THEN
            CASE
                WHEN product_code = 'ComputeSavingsPlans'
                    AND starts_with(description, 'Refund for one-time fee for Savings Plan ID')
                    THEN 'plan refund'
                ELSE 'refund'
            END
        WHEN 'Credit' THEN 'credit'
        WHEN 'EdpDiscount' THEN 'discount'
        WHEN 'PrivateRateDiscount' THEN 'discount'
        WHEN 'BundledDiscount' THEN 'discount'
        WHEN 'Discount' THEN 'discount'
        WHEN 'FlatRateSubscription' THEN 'subscription'
    END;
