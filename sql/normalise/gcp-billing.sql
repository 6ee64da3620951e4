-- Grain: one row for each line of Google Cloud's billing export and part of it: commitments that cover use, credits
-- that are grants, and what of a commitment's fee went unused stand behind part 1.
-- Purpose: the delivered lines as FOCUS charges, by docs/sources/gcp-billing.md; parts 1 in delivery order, the others
-- after them. What a commitment's fee comes to for each line follows from the whole delivery, not from the slice at
-- hand.
WITH delivered_lines AS NOT MATERIALIZED (
    SELECT * FROM delivered
),

delivery_lines AS NOT MATERIALIZED (
    SELECT * FROM delivery
),

service_names AS (
    SELECT
        service_code,
        service_name,
        service_category,
        service_subcategory
    FROM mappings.services
    WHERE provider = 'Google Cloud'
),

region_names AS (
    SELECT region_id, region_name FROM mappings.regions WHERE provider = 'Google Cloud'
),

focus_units AS (
    SELECT source_unit, focus_unit FROM mappings.units WHERE provider = 'Google Cloud'
),

machine_types AS (
    SELECT
        instance_type,
        instance_series,
        vcpu,
        memory_gib,
        gpu_count,
        gpu_model
    FROM mappings.instance_types
    WHERE provider = 'Google Cloud'
),

commitment_rates AS (
    SELECT sku_pattern, CAST(rate AS DECIMAL(38, 18)) AS rate
    FROM mappings.commitment_rates
    WHERE provider = 'Google Cloud'
),

-- The lines of commitments in the whole delivery: fees, use at a commitment's price, use with a commitment's credit.
commitment_lines AS MATERIALIZED (
    SELECT *
    FROM (
        SELECT
            x_SourceFile AS source_file,
            x_SourceRow AS source_row,
            gcp_treatment(
                cost_type, sku_description, credits, consumption_model_description, subscription_instance_id
            ) AS treatment,
            sku_description,
            subscription_instance_id AS subscription_id,
            currency,
            cost,
            credits,
            len(
                list_filter(
                    coalesce(credits, []), lambda credit: starts_with(credit.type, 'COMMITTED_USAGE_DISCOUNT')
                )
            ) > 0 AS has_cover
        FROM delivery_lines
        WHERE cost_type = 'regular'
    )
    WHERE treatment <> 'usage' OR has_cover
),

-- A commitment is known by an id where its fees and its use both name it.
named_commitments AS MATERIALIZED (
    SELECT coalesce(list(DISTINCT subscription_id), []) AS named
    FROM commitment_lines
    WHERE
        treatment = 'commitment fee'
        AND subscription_id IN (
            SELECT subscription_id FROM commitment_lines WHERE treatment = 'commitment usage'
            UNION ALL
            SELECT unnest(list_transform(credits, lambda credit: credit.id)) FROM commitment_lines WHERE has_cover
        )
),

entered_lines AS MATERIALIZED (
    SELECT
        source_file,
        source_row,
        treatment,
        subscription_id,
        sku_description,
        cost,
        gcp_credit_entries(credits, treatment, currency, named) AS entries,
        gcp_commitment_key(
            currency,
            CASE treatment WHEN 'commitment fee' THEN gcp_fee_category(sku_description, credits) ELSE 'Spend' END,
            subscription_id,
            named
        ) AS key
    FROM commitment_lines
    CROSS JOIN named_commitments
),

sku_rates AS (
    SELECT sku_description, min(rate) AS rate
    FROM (SELECT DISTINCT sku_description FROM entered_lines WHERE treatment = 'commitment fee')
    LEFT JOIN commitment_rates ON sku_description LIKE sku_pattern
    GROUP BY sku_description
),

fees AS MATERIALIZED (
    SELECT
        key,
        source_file,
        source_row,
        subscription_id,
        rate,
        CAST(cost + gcp_credit_sum(entries, ['reduction']) AS DECIMAL(38, 18)) AS fee,
        gcp_credit_sum(entries, ['offset']) AS fee_offset
    FROM entered_lines
    LEFT JOIN sku_rates USING (sku_description)
    WHERE treatment = 'commitment fee'
),

-- Each credit by which a commitment covers use.
covers AS MATERIALIZED (
    SELECT
        entry.key,
        source_file,
        source_row,
        entry.position,
        -entry.amount AS covered
    FROM (
        SELECT
            source_file,
            source_row,
            unnest(list_filter(entries, lambda entry: entry.kind IN ('Usage', 'Spend'))) AS entry
        FROM entered_lines
        WHERE treatment = 'usage'
    )
),

-- What each rate's fees pay for: at a rate of 0.72, a fee of 72 pays for use of 100. Rates have 6 places at most.
rated_fees AS (
    SELECT
        key,
        rate,
        CAST(sum(fee) AS DECIMAL(38, 18)) AS fee,
        CASE
            WHEN rate IS NOT NULL AND sum(fee) > 0
                THEN number_of_units(exact_units(sum(fee)) * 1000000 // CAST(rate * 1000000 AS HUGEINT))
        END AS capacity
    FROM fees
    GROUP BY key, rate
),

key_rates AS (
    SELECT
        key,
        bool_and(rate IS NOT NULL) AS is_rate_known,
        CASE
            WHEN count(*) = 1 THEN CAST(exact_units(min(rate)) AS BIGINT)
            WHEN min(fee) > 0 AND bool_and(rate IS NOT NULL) THEN gcp_ratio_fraction(sum(fee), sum(capacity))
            ELSE CAST(exact_units(max(rate)) AS BIGINT)
        END AS rate_units
    FROM rated_fees
    GROUP BY key
),

key_fees AS (
    SELECT
        key,
        count(DISTINCT subscription_id) AS ids,
        min(subscription_id) AS id,
        CAST(sum(fee) AS DECIMAL(38, 18)) AS fee,
        CAST(sum(fee_offset) AS DECIMAL(38, 18)) AS fee_offset,
        CAST(sum(fee + fee_offset) AS DECIMAL(38, 18)) AS fee_left,
        max({'file': source_file, 'row': source_row}) AS last_fee
    FROM fees
    GROUP BY key
),

key_usage AS (
    SELECT key, CAST(sum(cost) AS DECIMAL(38, 18)) AS cost
    FROM entered_lines
    WHERE treatment = 'commitment usage'
    GROUP BY key
),

key_covers AS (
    SELECT
        key,
        CAST(sum(covered) AS DECIMAL(38, 18)) AS covered,
        max({'file': source_file, 'row': source_row, 'position': position}) AS last_cover
    FROM covers
    GROUP BY key
),

-- What the fees leave for use with a credit once use at the commitment's price has borne its own.
key_totals AS (
    SELECT
        key,
        ids,
        id,
        fee,
        fee_offset,
        fee_left,
        last_fee,
        last_cover,
        is_rate_known,
        rate_units,
        coalesce(key_usage.cost, 0) AS usage_cost,
        coalesce(covered, 0) AS covered,
        CAST(fee - coalesce(key_usage.cost, 0) AS DECIMAL(38, 18)) AS available
    FROM key_fees
    JOIN key_rates USING (key)
    LEFT JOIN key_usage USING (key)
    LEFT JOIN key_covers USING (key)
),

-- Covered use bears its credit at the commitment's rate; all that there is to bear where the rate isn't known or would
-- take more than that.
key_ratios AS (
    SELECT
        *,
        CASE WHEN bears_all THEN gcp_ratio_whole(available, covered) ELSE CAST(0 AS HUGEINT) END AS borne_whole,
        CASE
            WHEN bears_all THEN gcp_ratio_fraction(available, covered)
            WHEN is_rate_known AND NOT (covered > 0 AND available <= 0) THEN rate_units
            ELSE CAST(0 AS BIGINT)
        END AS borne_fraction
    FROM (
        SELECT
            *,
            covered > 0 AND available > 0
            AND (
                NOT is_rate_known
                OR gcp_in_proportion(covered, CAST(0 AS HUGEINT), rate_units) >= available
            ) AS bears_all
        FROM key_totals
    )
),

key_borne AS (
    SELECT
        key,
        CAST(sum(gcp_in_proportion(covers.covered, borne_whole, borne_fraction)) AS DECIMAL(38, 18)) AS borne
    FROM covers
    JOIN key_ratios USING (key)
    GROUP BY key
),

-- The rest of the fees went unused: each fee has of it what its offset left of it, else in proportion to the fee.
key_unused AS (
    SELECT
        *,
        CASE WHEN weight > 0 THEN gcp_ratio_whole(abs(unused), weight) ELSE CAST(0 AS HUGEINT) END AS unused_whole,
        CASE WHEN weight > 0 THEN gcp_ratio_fraction(abs(unused), weight) ELSE CAST(0 AS BIGINT) END AS unused_fraction
    FROM (
        SELECT
            *,
            CASE WHEN is_by_offset THEN fee_left ELSE fee END AS weight
        FROM (
            SELECT
                key_ratios.*,
                CASE WHEN bears_all THEN CAST(available - coalesce(borne, 0) AS DECIMAL(38, 18)) ELSE 0 END
                    AS borne_at_last,
                CASE WHEN bears_all THEN 0 ELSE CAST(available - coalesce(borne, 0) AS DECIMAL(38, 18)) END AS unused,
                fee_offset <> 0 AND fee_left > 0 AND available > 0 AS is_by_offset
            FROM key_ratios
            LEFT JOIN key_borne USING (key)
        )
    )
),

key_unused_parts AS (
    SELECT
        key,
        CAST(
            sum(
                sign(unused)
                * gcp_in_proportion(
                    CASE WHEN is_by_offset THEN fees.fee + fees.fee_offset ELSE fees.fee END,
                    unused_whole,
                    unused_fraction
                )
            )
            AS DECIMAL(38, 18)
        ) AS unused
    FROM fees
    JOIN key_unused USING (key)
    GROUP BY key
),

-- One row for each commitment, and one with an empty key for all lines of none.
commitments AS MATERIALIZED (
    SELECT
        key,
        CASE WHEN ids = 1 THEN id END AS commitment_id,
        CASE WHEN is_rate_known THEN decimal_text(number_of_units(rate_units)) ELSE '"unknown"' END AS commitment_rate,
        bears_all,
        borne_whole,
        borne_fraction,
        borne_at_last,
        last_cover,
        key_unused.unused AS unused_in_all,
        is_by_offset,
        unused_whole,
        unused_fraction,
        CAST(key_unused.unused - key_unused_parts.unused AS DECIMAL(38, 18)) AS unused_at_last,
        last_fee,
        CAST(CASE WHEN fee_offset <> 0 OR usage_cost <> 0 THEN usage_cost + fee_offset ELSE 0 END AS DECIMAL(38, 18))
            AS residue
    FROM key_unused
    JOIN key_unused_parts USING (key)
    UNION ALL
    SELECT '', NULL, NULL, false, 0, 0, 0, NULL, 0, false, 0, 0, 0, NULL, 0
),

paid_commitments AS MATERIALIZED (
    SELECT named, (SELECT list(key) FROM commitments) AS paid
    FROM named_commitments
),

-- Labels travel as their text: a join on lists moves rows that share no list.
lines AS NOT MATERIALIZED (
    SELECT
        x_SourceFile AS source_file,
        x_SourceRow AS source_row,
        gcp_treatment(cost_type, sku_description, credits, consumption_model_description, subscription_instance_id)
            AS treatment,
        cost_type,
        nullif(replace(billing_account_id, '_', '-'), '') AS billing_account_id,
        TRY_CAST(substr(invoice_month, 1, 4) || '-' || substr(invoice_month, 5, 2) || '-01' AS TIMESTAMP)
            AS billing_period_start,
        usage_start_time AS usage_start,
        usage_end_time AS usage_end,
        currency,
        cost,
        cost_at_list,
        cost_at_effective_price_default AS cost_at_contract,
        service_id,
        service_description,
        sku_id,
        sku_description,
        project_id,
        project_name,
        coalesce(location_region, nullif(location_location, 'global')) AS region_id,
        location_zone AS zone,
        gcp_resource_id(resource_global_name, resource_name, project_id) AS resource_id,
        resource_name,
        subscription_instance_id AS subscription_id,
        consumption_model_description AS consumption_model,
        usage_amount,
        usage_unit,
        usage_amount_in_pricing_units AS pricing_amount,
        usage_pricing_unit AS pricing_unit,
        price_list_price AS list_price,
        coalesce(price_effective_price_default, price_effective_price) AS contract_price,
        price_pricing_unit_quantity AS price_quantity,
        price_tier_start_amount AS tier_start,
        coalesce(adjustment_info_id, adjustment_info_description, adjustment_info_type, adjustment_info_mode)
            IS NOT NULL AS is_correction,
        CASE WHEN transaction_type <> 'GOOGLE' THEN coalesce(seller_name, 'Third party') END AS seller,
        transaction_type,
        CAST(to_json(system_labels) AS VARCHAR) AS system_labels,
        gcp_tag_set(labels, project_labels, project_ancestors, system_labels, tags) AS tag_set,
        coalesce(credits, []) AS credits
    FROM delivered_lines
),

-- Lines that can become charges, with what each of their credits is and which commitment they are of.
entered AS NOT MATERIALIZED (
    SELECT
        *,
        CASE WHEN len(credits) = 0 THEN [] ELSE gcp_credit_entries(credits, treatment, currency, named) END AS entries,
        CASE
            WHEN treatment IN ('commitment fee', 'commitment usage') THEN
                gcp_commitment_key(
                    currency,
                    CASE treatment
                        WHEN 'commitment fee' THEN gcp_fee_category(sku_description, credits)
                        ELSE 'Spend'
                    END,
                    subscription_id,
                    named
                )
            ELSE ''
        END AS key
    FROM lines
    CROSS JOIN paid_commitments
    WHERE
        gcp_rejection(
            treatment, cost_type, billing_account_id, CAST(billing_period_start AS VARCHAR), currency, cost,
            usage_start, credits
        ) IS NULL
),

accepted AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (treatment, key, entries),
        -- Without a fee in the delivery, neither the price nor the credit of a commitment is more than a lower price.
        CASE
            WHEN treatment = 'commitment usage' AND NOT list_contains(paid, key) THEN 'usage at a commitment price'
            ELSE treatment
        END AS treatment,
        CASE WHEN treatment = 'commitment usage' AND NOT list_contains(paid, key) THEN '' ELSE key END AS own_key,
        list_filter(entries, lambda entry: entry.kind IN ('Usage', 'Spend') AND list_contains(paid, entry.key))
            AS covering,
        list_filter(entries, lambda entry: entry.kind = 'grant' AND entry.amount <> 0) AS grants,
        CASE
            WHEN len(entries) = 0 THEN cost
            ELSE
                CAST(
                    cost + gcp_credit_sum(
                        list_filter(
                            entries,
                            lambda entry: NOT (entry.kind IN ('Usage', 'Spend') AND list_contains(paid, entry.key))
                        ),
                        ['reduction', 'Usage', 'Spend']
                    )
                    AS DECIMAL(38, 18)
                )
        END AS reduced_cost,
        gcp_credit_sum(entries, ['offset']) AS fee_offset
    FROM entered
),

-- The cost of use less all that commitments cover; 0 where they cover it whole, which then needs no row of its own.
netted AS NOT MATERIALIZED (
    SELECT
        *,
        CASE
            WHEN len(covering) = 0 THEN reduced_cost
            ELSE CAST(reduced_cost + gcp_credit_sum(covering, ['Usage', 'Spend']) AS DECIMAL(38, 18))
        END AS net_cost
    FROM accepted
),

-- What commitments cover of a line, one behind the other, as shares of its quantities and list cost.
covered AS NOT MATERIALIZED (
    SELECT
        *,
        CASE
            WHEN len(covering) = 0 THEN []
            ELSE
                list_transform(
                    covering,
                    lambda entry, position: {
                        'position': entry.position,
                        'key': entry.key,
                        'kind': entry.kind,
                        'id': entry.id,
                        'type': entry.type,
                        'name': entry.name,
                        'amount': -entry.amount,
                        'share_before': CASE
                            WHEN position = 1 THEN CAST(0 AS BIGINT)
                            ELSE gcp_covered_share(
                                -gcp_credit_sum(covering[:position - 1], ['Usage', 'Spend']), net_cost, cost, false
                            )
                        END,
                        'share_through': gcp_covered_share(
                            -gcp_credit_sum(covering[:position], ['Usage', 'Spend']),
                            net_cost,
                            cost,
                            position = len(covering)
                        )
                    }
                )
        END AS covers
    FROM netted
),

-- Part 1 is what is left of the line, or, where commitments cover it whole, the first of them.
first_parts AS NOT MATERIALIZED (
    SELECT
        *,
        1 AS part,
        CASE WHEN len(covers) > 0 AND net_cost = 0 THEN 'covered usage' ELSE treatment END AS part_treatment,
        CASE WHEN len(covers) > 0 AND net_cost = 0 THEN covers[1].key ELSE own_key END AS part_key,
        CASE WHEN len(covers) > 0 AND net_cost = 0 THEN covers[1] END AS cover,
        NULL AS granted,
        CASE
            WHEN len(covers) = 0 THEN NULL
            WHEN net_cost = 0 THEN CAST(0 AS BIGINT)
            ELSE covers[-1].share_through
        END AS share_before,
        CASE
            WHEN len(covers) = 0 THEN NULL
            WHEN net_cost = 0 THEN covers[1].share_through
            ELSE CAST(1000000000000000000 AS BIGINT)
        END AS share_through
    FROM covered
),

-- Covers and grants by the position of their credit; for every fee what of it may have gone unused and be left over.
further_parts AS NOT MATERIALIZED (
    SELECT
        * EXCLUDE (further),
        further.part,
        further.treatment AS part_treatment,
        further.key AS part_key,
        further.cover,
        further.granted,
        further.cover.share_before,
        further.cover.share_through
    FROM (
        SELECT
            *,
            unnest(
                list_concat(
                    list_transform(
                        CASE WHEN net_cost = 0 THEN covers[2:] ELSE covers END,
                        lambda entry: {
                            'part': entry.position + 1,
                            'treatment': 'covered usage',
                            'key': entry.key,
                            'cover': entry,
                            'granted': NULL
                        }
                    ),
                    list_transform(
                        grants,
                        lambda entry: {
                            'part': entry.position + 1, 'treatment': 'grant', 'key': '', 'cover': NULL, 'granted': entry
                        }
                    ),
                    CASE
                        WHEN treatment = 'commitment fee' THEN
                            [
                                {
                                    'part': len(credits) + 2,
                                    'treatment': 'commitment unused',
                                    'key': own_key,
                                    'cover': NULL,
                                    'granted': NULL
                                },
                                {
                                    'part': len(credits) + 3,
                                    'treatment': 'offset residue',
                                    'key': own_key,
                                    'cover': NULL,
                                    'granted': NULL
                                }
                            ]
                        ELSE []
                    END
                )
            ) AS further
        FROM covered
        WHERE
            -- What needs nothing but the line is sifted out where it is read.
            (len(credits) > 0 OR starts_with(sku_description, 'Commitment'))
            AND (len(covers) > 0 OR len(grants) > 0 OR treatment = 'commitment fee')
    )
),

parts AS (
    SELECT * FROM first_parts
    UNION ALL
    SELECT * FROM further_parts
),

-- Each part with its commitment's facts. The join finds a row for every line, because a left join puts the lines that
-- found none behind those that did.
committed AS (
    SELECT
        parts.*,
        commitments.* EXCLUDE (key),
        CASE
            WHEN part_treatment = 'covered usage' THEN
                CAST(
                    gcp_in_proportion(cover.amount, borne_whole, borne_fraction)
                    + CASE
                        WHEN {'file': source_file, 'row': source_row, 'position': cover.position} = last_cover
                            THEN borne_at_last
                        ELSE 0
                    END
                    AS DECIMAL(38, 18)
                )
        END AS borne_cost,
        CASE
            WHEN part_treatment = 'commitment unused' THEN
                CAST(
                    sign(unused_in_all)
                    * gcp_in_proportion(
                        CASE
                            WHEN is_by_offset THEN CAST(reduced_cost + fee_offset AS DECIMAL(38, 18))
                            ELSE reduced_cost
                        END,
                        unused_whole,
                        unused_fraction
                    )
                    + CASE
                        WHEN {'file': source_file, 'row': source_row} = last_fee THEN unused_at_last
                        ELSE 0
                    END
                    AS DECIMAL(38, 18)
                )
        END AS unused_cost
    FROM parts
    JOIN commitments ON parts.part_key = commitments.key
    WHERE
        (part_treatment <> 'commitment unused' OR unused_in_all <> 0)
        AND (
            part_treatment <> 'offset residue'
            OR (residue <> 0 AND {'file': source_file, 'row': source_row} = last_fee)
        )
),

-- Which amount becomes which cost: net is the cost with the credits that lower it, list and contract the cost at those
-- prices before credits.
treatments AS (
    SELECT *
    FROM (
        VALUES
        ('usage', 'Usage', 'Usage-Based', 'Standard', NULL, 'net', 'net', 'list', 'contract'),
        ('usage at a commitment price', 'Usage', 'Usage-Based', 'Committed', NULL, 'net', 'net', 'list', 'contract'),
        ('commitment usage', 'Usage', 'Usage-Based', 'Committed', 'Used', 'none', 'net', 'list', 'contract'),
        ('covered usage', 'Usage', 'Usage-Based', 'Committed', 'Used', 'none', 'borne', 'list', 'contract'),
        ('commitment fee', 'Purchase', 'Recurring', 'Standard', NULL, 'net', 'none', 'list', 'contract'),
        ('commitment unused', 'Usage', 'Usage-Based', 'Committed', 'Unused', 'none', 'unused', 'none', 'none'),
        ('offset residue', 'Adjustment', 'Usage-Based', NULL, NULL, 'residue', 'residue', 'residue', 'residue'),
        ('grant', 'Credit', 'One-Time', NULL, NULL, 'grant', 'grant', 'grant', 'grant'),
        ('tax', 'Tax', 'Usage-Based', NULL, NULL, 'net', 'net', 'net', 'net'),
        ('adjustment', 'Adjustment', 'One-Time', NULL, NULL, 'net', 'net', 'net', 'net'),
        ('rounding', 'Adjustment', 'One-Time', NULL, NULL, 'net', 'net', 'net', 'net')
    ) AS rows (
        treatment,
        charge_category,
        charge_frequency,
        pricing_category,
        commitment_status,
        billed_from,
        effective_from,
        list_from,
        contracted_from
    )
),

tag_sets AS (
    SELECT tag_set, gcp_tags_json(tag_set) AS tags FROM (SELECT DISTINCT tag_set FROM lines)
),

attribute_sets AS (
    SELECT
        *,
        gcp_label(system_labels, 'compute.googleapis.com/machine_spec') AS machine_spec,
        gcp_label(system_labels, 'compute.googleapis.com/cores') AS cores,
        gcp_label(system_labels, 'compute.googleapis.com/memory') AS memory_megabytes
    FROM (
        SELECT DISTINCT
            service_id,
            service_description,
            sku_id,
            sku_description,
            region_id,
            usage_unit,
            pricing_unit,
            tier_start,
            system_labels
        FROM lines
    )
),

-- One row for each distinct article of the bill, so that its names, machine and GPUs are looked up once, not once a
-- line.
articles AS (
    SELECT
        service_id,
        service_description,
        sku_id,
        sku_description,
        attribute_sets.region_id,
        usage_unit,
        pricing_unit,
        tier_start,
        system_labels,
        coalesce(service_names.service_name, service_description, service_id, 'Google Cloud') AS service_name,
        coalesce(service_names.service_category, 'Other') AS service_category,
        coalesce(service_names.service_subcategory, 'Other (Other)') AS service_subcategory,
        coalesce(region_names.region_name, attribute_sets.region_id) AS region_name,
        coalesce(usage_units.focus_unit, usage_unit, 'Units') AS consumed_unit,
        coalesce(pricing_units.focus_unit, pricing_unit, 'Units') AS price_unit,
        sku_id || '|' || decimal_text(coalesce(tier_start, 0)) AS price_id,
        machine_spec,
        coalesce(gcp_gpu_model(sku_description), machine_types.gpu_model) AS gpu_model,
        TRY_CAST(machine_types.gpu_count AS INTEGER) AS gpu_count,
        coalesce(regexp_matches(sku_description, '\b(Spot|Preemptible)\b'), false) AS is_spot,
        CASE
            WHEN sku_id IS NOT NULL THEN
                gcp_sku_price_details(
                    coalesce(cores, machine_types.vcpu),
                    gcp_disk_type(sku_description),
                    machine_types.gpu_count,
                    coalesce(machine_types.instance_series, nullif(split_part(machine_spec, '-', 1), '')),
                    machine_spec,
                    memory_megabytes,
                    machine_types.memory_gib,
                    gcp_operating_system(sku_description),
                    gcp_storage_class(sku_description)
                )
        END AS price_details
    FROM attribute_sets
    LEFT JOIN machine_types ON attribute_sets.machine_spec = machine_types.instance_type
    LEFT JOIN service_names ON attribute_sets.service_description = service_names.service_code
    LEFT JOIN region_names ON attribute_sets.region_id = region_names.region_id
    LEFT JOIN focus_units AS usage_units ON attribute_sets.usage_unit = usage_units.source_unit
    LEFT JOIN focus_units AS pricing_units ON attribute_sets.pricing_unit = pricing_units.source_unit
),

described AS (
    SELECT
        committed.*,
        charge_category,
        charge_frequency,
        pricing_category,
        commitment_status,
        CASE billed_from
            WHEN 'net' THEN net_cost
            WHEN 'grant' THEN granted.amount
            WHEN 'residue' THEN residue
            ELSE 0
        END AS billed_cost,
        CASE effective_from
            WHEN 'net' THEN net_cost
            WHEN 'borne' THEN borne_cost
            WHEN 'unused' THEN unused_cost
            WHEN 'grant' THEN granted.amount
            WHEN 'residue' THEN residue
            ELSE 0
        END AS effective_cost,
        CASE list_from
            WHEN 'list' THEN gcp_share_of(coalesce(cost_at_list, cost), share_before, share_through)
            WHEN 'net' THEN net_cost
            WHEN 'grant' THEN granted.amount
            WHEN 'residue' THEN residue
            ELSE 0
        END AS list_cost,
        CASE contracted_from
            WHEN 'contract' THEN gcp_share_of(coalesce(cost_at_contract, cost), share_before, share_through)
            WHEN 'net' THEN net_cost
            WHEN 'grant' THEN granted.amount
            WHEN 'residue' THEN residue
            ELSE 0
        END AS contracted_cost,
        -- Credits, adjustments and tax have no price; neither has commitment that went unused.
        pricing_category IS NOT NULL AND commitment_status IS DISTINCT FROM 'Unused' AS is_priced,
        CASE part_treatment
            WHEN 'commitment usage' THEN 'Spend'
            WHEN 'covered usage' THEN cover.kind
            WHEN 'commitment fee' THEN gcp_fee_category(sku_description, credits)
            WHEN 'commitment unused' THEN gcp_fee_category(sku_description, credits)
        END AS commitment_category,
        -- The bridge needs to know what is a commitment, whichever it is.
        CASE
            WHEN part_treatment IN ('commitment usage', 'commitment fee', 'commitment unused')
                THEN coalesce(subscription_id, commitment_id, 'committed use discount without an id')
            WHEN part_treatment = 'covered usage'
                THEN coalesce(commitment_id, cover.id, 'committed use discount without an id')
        END AS discount_id
    FROM committed
    JOIN treatments ON committed.part_treatment = treatments.treatment
),

-- Quantities and their units; a quantity without a unit would be no FOCUS.
measured AS (
    SELECT
        described.*,
        articles.* EXCLUDE (
            service_id, service_description, sku_id, sku_description, region_id, usage_unit, pricing_unit, tier_start,
            system_labels
        ),
        CASE
            WHEN is_priced THEN gcp_share_of(pricing_amount, share_before, share_through)
            WHEN part_treatment = 'commitment unused' THEN unused_cost
        END AS pricing_quantity,
        CASE WHEN part_treatment = 'commitment unused' THEN currency ELSE articles.price_unit END AS quantity_unit,
        CASE
            WHEN charge_category = 'Usage' AND commitment_status IS DISTINCT FROM 'Unused'
                THEN
                    gcp_share_of(
                        -- A few days of a large bucket are more byte-seconds than a column can add up.
                        CASE WHEN described.usage_unit = 'byte-seconds' THEN pricing_amount ELSE usage_amount END,
                        share_before,
                        share_through
                    )
        END AS consumed_quantity,
        CASE WHEN is_priced THEN gcp_unit_price(list_price, price_quantity) END AS list_unit_price,
        CASE WHEN is_priced THEN gcp_unit_price(contract_price, price_quantity) END AS contracted_unit_price,
        CASE
            WHEN commitment_category = 'Spend' AND charge_category = 'Purchase' THEN billed_cost
            WHEN commitment_category = 'Spend' THEN effective_cost
            -- As much of what was bought as of its fee.
            WHEN part_treatment = 'commitment unused' THEN
                CASE
                    WHEN unused_cost BETWEEN 0 AND net_cost AND net_cost > 0 THEN
                        gcp_in_proportion(
                            pricing_amount,
                            gcp_ratio_whole(unused_cost, net_cost),
                            gcp_ratio_fraction(unused_cost, net_cost)
                        )
                END
            WHEN commitment_category = 'Usage' THEN gcp_share_of(pricing_amount, share_before, share_through)
        END AS commitment_quantity
    FROM described
    JOIN articles
        ON described.service_id IS NOT DISTINCT FROM articles.service_id
        AND described.service_description IS NOT DISTINCT FROM articles.service_description
        AND described.sku_id IS NOT DISTINCT FROM articles.sku_id
        AND described.sku_description IS NOT DISTINCT FROM articles.sku_description
        AND described.region_id IS NOT DISTINCT FROM articles.region_id
        AND described.usage_unit IS NOT DISTINCT FROM articles.usage_unit
        AND described.pricing_unit IS NOT DISTINCT FROM articles.pricing_unit
        AND described.tier_start IS NOT DISTINCT FROM articles.tier_start
        AND described.system_labels IS NOT DISTINCT FROM articles.system_labels
)

SELECT
    CAST(NULL AS VARCHAR) AS AllocatedMethodDetails,
    CAST(NULL AS VARCHAR) AS AllocatedMethodId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceId,
    CAST(NULL AS VARCHAR) AS AllocatedResourceName,
    CAST(NULL AS VARCHAR) AS AllocatedTags,
    zone AS AvailabilityZone,
    billed_cost AS BilledCost,
    billing_account_id AS BillingAccountId,
    -- The export has no name.
    billing_account_id AS BillingAccountName,
    'Billing Account' AS BillingAccountType,
    currency AS BillingCurrency,
    billing_period_start + INTERVAL 1 MONTH AS BillingPeriodEnd,
    billing_period_start AS BillingPeriodStart,
    CAST(NULL AS VARCHAR) AS CapacityReservationId,
    CAST(NULL AS VARCHAR) AS CapacityReservationStatus,
    charge_category AS ChargeCategory,
    CASE WHEN is_correction AND charge_category <> 'Credit' THEN 'Correction' END AS ChargeClass,
    CASE WHEN part_treatment = 'grant' THEN coalesce(granted.name, sku_description) ELSE sku_description END
        AS ChargeDescription,
    charge_frequency AS ChargeFrequency,
    -- A charge of a moment gets a second, because FOCUS periods are half-open.
    greatest(coalesce(usage_end, usage_start), usage_start + INTERVAL 1 SECOND) AS ChargePeriodEnd,
    usage_start AS ChargePeriodStart,
    commitment_category AS CommitmentDiscountCategory,
    discount_id AS CommitmentDiscountId,
    CASE WHEN part_treatment = 'covered usage' THEN cover.name END AS CommitmentDiscountName,
    commitment_quantity AS CommitmentDiscountQuantity,
    commitment_status AS CommitmentDiscountStatus,
    CASE
        WHEN commitment_category = 'Spend' THEN 'Spend-based committed use discount'
        WHEN commitment_category = 'Usage' THEN 'Resource-based committed use discount'
    END AS CommitmentDiscountType,
    CASE
        WHEN commitment_quantity IS NULL THEN NULL
        WHEN commitment_category = 'Spend' THEN currency
        ELSE price_unit
    END AS CommitmentDiscountUnit,
    CAST(NULL AS VARCHAR) AS CommitmentProgramEligibilityDetails,
    consumed_quantity AS ConsumedQuantity,
    CASE WHEN consumed_quantity IS NOT NULL THEN
        CASE WHEN usage_unit = 'byte-seconds' THEN price_unit ELSE consumed_unit END
    END AS ConsumedUnit,
    CAST(NULL AS VARCHAR) AS ContractApplied,
    contracted_cost AS ContractedCost,
    contracted_unit_price AS ContractedUnitPrice,
    effective_cost AS EffectiveCost,
    'Google Cloud' AS HostProviderName,
    CAST(NULL AS VARCHAR) AS InvoiceDetailId,
    CAST(NULL AS VARCHAR) AS InvoiceId,
    CASE WHEN transaction_type = 'THIRD_PARTY_AGENCY' THEN seller ELSE 'Google Cloud' END AS InvoiceIssuerName,
    list_cost AS ListCost,
    list_unit_price AS ListUnitPrice,
    CASE WHEN part_treatment = 'usage' AND is_spot THEN 'Dynamic' ELSE pricing_category END AS PricingCategory,
    currency AS PricingCurrency,
    contracted_unit_price AS PricingCurrencyContractedUnitPrice,
    effective_cost AS PricingCurrencyEffectiveCost,
    list_unit_price AS PricingCurrencyListUnitPrice,
    pricing_quantity AS PricingQuantity,
    CASE WHEN pricing_quantity IS NOT NULL THEN quantity_unit END AS PricingUnit,
    'Google Cloud' AS ProviderName,
    coalesce(seller, 'Google Cloud') AS PublisherName,
    region_id AS RegionId,
    CASE WHEN region_id IS NOT NULL THEN region_name END AS RegionName,
    resource_id AS ResourceId,
    CASE WHEN resource_id IS NOT NULL THEN resource_name END AS ResourceName,
    gcp_resource_type(resource_id) AS ResourceType,
    service_category AS ServiceCategory,
    service_name AS ServiceName,
    coalesce(seller, 'Google Cloud') AS ServiceProviderName,
    service_subcategory AS ServiceSubcategory,
    CASE WHEN charge_category <> 'Tax' THEN sku_id END AS SkuId,
    CASE WHEN charge_category <> 'Tax' AND sku_id IS NOT NULL THEN sku_description END AS SkuMeter,
    CASE
        WHEN charge_category NOT IN ('Usage', 'Purchase') THEN NULL
        -- The last key in byte order.
        WHEN part_treatment = 'covered usage' AND sku_id IS NOT NULL
            THEN coalesce(left(price_details, -1) || ',', '{') || '"x_CommitmentRate":' || commitment_rate || '}'
        ELSE price_details
    END AS SkuPriceDetails,
    CASE WHEN charge_category IN ('Usage', 'Purchase') THEN price_id END AS SkuPriceId,
    project_id AS SubAccountId,
    coalesce(project_name, project_id) AS SubAccountName,
    CASE WHEN project_id IS NOT NULL THEN 'Project' END AS SubAccountType,
    tag_sets.tags AS Tags,
    $source_name AS x_SourceName,
    $source_kind AS x_SourceKind,
    $billing_period AS x_BillingPeriod,
    $source_version AS x_SourceVersion,
    source_file AS x_SourceFile,
    source_row AS x_SourceRow,
    CAST(part AS INTEGER) AS x_SourcePart,
    CASE
        WHEN part_treatment = 'grant' THEN coalesce(granted.type, 'credit')
        WHEN part_treatment = 'covered usage' THEN cover.type
        WHEN part_treatment = 'offset residue' THEN 'FEE_UTILIZATION_OFFSET'
        ELSE cost_type
    END AS x_SourceLineItemType,
    -- Nothing that Google delivers says that a month is closed.
    false AS x_IsFinal,
    service_id AS x_ServiceCode,
    sku_description AS x_UsageType,
    consumption_model AS x_Operation,
    machine_spec AS x_InstanceType,
    gpu_model AS x_GpuModel,
    gpu_count AS x_GpuCount,
    CAST(NULL AS VARCHAR) AS x_CostCategories,
    CAST(NULL AS VARCHAR) AS x_SplitCostAllocation,
    CAST(NULL AS VARCHAR) AS x_SourceColumns
FROM measured
JOIN tag_sets ON measured.tag_set = tag_sets.tag_set
