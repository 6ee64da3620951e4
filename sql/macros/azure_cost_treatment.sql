-- azure_cost_is_of_commitment(...): whether a line belongs to a reservation or savings plan: by its pricing model; where the
-- export has no pricing model, by the commitment that it names; unused parts and purchases of Microsoft.Capacity always.
CREATE OR REPLACE MACRO azure_cost_is_of_commitment(charge_type, pricing_model, consumed_service, commitment_id) AS
    coalesce(lower(replace(pricing_model, ' ', '')) IN ('reservation', 'savingsplan'), false)
    OR coalesce(lower(charge_type) IN ('unusedreservation', 'unusedsavingsplan'), false)
    OR coalesce(
        lower(charge_type) IN ('purchase', 'refund')
        AND lower(consumed_service) IN ('microsoft.capacity', 'microsoft.billingbenefits'),
        false
    )
    OR (pricing_model IS NULL AND commitment_id IS NOT NULL);

-- azure_cost_treatment(...): what normalisation makes of a line of an Azure export, by docs/sources/azure-cost.md; NULL for a
-- type that the page doesn't list, which is then rejected, never guessed. `netted`: another report has the line, or it says
-- nothing of its own. is_pair: the delivery has actual and amortised cost.
CREATE OR REPLACE MACRO azure_cost_treatment(is_amortised, is_pair, charge_type, is_of_commitment, cost) AS
    CASE
        WHEN lower(charge_type) NOT IN (
            'usage', 'unusedreservation', 'unusedsavingsplan', 'purchase', 'refund', 'roundingadjustment', 'credit', 'tax'
        ) THEN NULL
        WHEN lower(charge_type) IN ('purchase', 'refund') AND is_of_commitment THEN
            CASE
                WHEN NOT is_amortised THEN 'commitment ' || lower(charge_type)
                -- An amortised purchase has no cost of its own: it is in the use.
                WHEN cost = 0 THEN 'netted'
            END
        WHEN is_pair AND NOT is_amortised THEN 'netted'
        WHEN lower(charge_type) = 'usage' AND is_of_commitment THEN 'commitment usage'
        WHEN lower(charge_type) IN ('unusedreservation', 'unusedsavingsplan') THEN 'commitment unused'
        WHEN lower(charge_type) = 'roundingadjustment' THEN 'rounding'
        ELSE lower(charge_type)
    END;
