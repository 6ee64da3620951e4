-- gcp_credit_kind(type): what a credit of Google Cloud is to us, by docs/sources/gcp-billing.md: the cover of a
-- commitment (its category), an offset of a commitment's fee, a lower price, or a grant, which becomes a charge of its
-- own.
CREATE OR REPLACE MACRO gcp_credit_kind(type) AS
    CASE type
        WHEN 'COMMITTED_USAGE_DISCOUNT' THEN 'Usage'
        WHEN 'COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE' THEN 'Spend'
        WHEN 'FEE_UTILIZATION_OFFSET' THEN 'offset'
        WHEN 'SUSTAINED_USAGE_DISCOUNT' THEN 'reduction'
        WHEN 'DISCOUNT' THEN 'reduction'
        WHEN 'FREE_TIER' THEN 'reduction'
        WHEN 'SUBSCRIPTION_BENEFIT' THEN 'reduction'
        WHEN 'RESELLER_MARGIN' THEN 'reduction'
        ELSE 'grant'
    END;

-- gcp_commitment_key(currency, category, id, named): which commitments share their fees: those of one id, where both
-- fees and use name it, else all of a currency and category.
CREATE OR REPLACE MACRO gcp_commitment_key(currency, category, id, named) AS
    currency || '|' || CASE WHEN list_contains(named, id) THEN id ELSE '(' || category || ')' END;

-- gcp_credit_entries(credits, treatment, currency, named): a line's credits with their positions, kinds and
-- commitments. On usage at a commitment's price every credit is a grant, on other lines than usage and fees every one
-- but a grant lowers the price.
CREATE OR REPLACE MACRO gcp_credit_entries(credits, treatment, currency, named) AS
    list_transform(
        coalesce(credits, []),
        lambda credit, position: {
            'position': position,
            'kind': CASE
                WHEN treatment = 'commitment usage' THEN 'grant'
                WHEN treatment = 'usage' OR (treatment = 'commitment fee' AND credit.type = 'FEE_UTILIZATION_OFFSET')
                    OR gcp_credit_kind(credit.type) = 'grant' THEN gcp_credit_kind(credit.type)
                ELSE 'reduction'
            END,
            'key': CASE
                WHEN treatment = 'usage' AND gcp_credit_kind(credit.type) IN ('Usage', 'Spend')
                    THEN gcp_commitment_key(currency, gcp_credit_kind(credit.type), credit.id, named)
            END,
            'id': credit.id,
            'type': credit.type,
            'name': coalesce(credit.full_name, credit.name),
            'amount': credit.amount
        }
    );

-- gcp_credit_sum(entries, kinds): what the credits of these kinds come to; 0 without one.
CREATE OR REPLACE MACRO gcp_credit_sum(entries, kinds) AS
    CASE
        WHEN len(entries) = 0 THEN CAST(0 AS DECIMAL(38,18))
        ELSE
            CAST(
                coalesce(
                    list_sum(
                        list_transform(
                            list_filter(entries, lambda entry: list_contains(kinds, entry.kind)),
                            lambda entry: entry.amount
                        )
                    ),
                    0
                )
                AS DECIMAL(38,18)
            )
    END;

-- gcp_fee_category(sku_description, credits): what a commitment's fee was committed to, in FOCUS's words.
CREATE OR REPLACE MACRO gcp_fee_category(sku_description, credits) AS
    CASE
        WHEN regexp_matches(sku_description, 'dollar[- ]based') THEN 'Spend'
        WHEN len(list_filter(coalesce(credits, []), lambda credit: credit.type = 'FEE_UTILIZATION_OFFSET')) > 0
            THEN 'Spend'
        ELSE 'Usage'
    END;
