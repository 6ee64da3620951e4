-- gcp_in_proportion(amount, whole, fraction): an amount times a ratio, whose whole number and rest (in units of the
-- 18th place) are given apart; rounded half away from zero at the 18th place. Exact for ratios from 1 only up to 10^38
-- units.
CREATE OR REPLACE MACRO gcp_in_proportion(amount, whole, fraction) AS
    CAST(
        CASE WHEN whole = 0 THEN CAST(0 AS DECIMAL(38,18)) ELSE number_of_units(exact_units(amount) * whole) END
        + split_amount(whole_part(amount), fraction_units(amount), CAST(0 AS BIGINT), fraction)
        AS DECIMAL(38,18)
    );

-- gcp_ratio_whole(part, whole), gcp_ratio_fraction(part, whole): part / whole as gcp_in_proportion() takes it; both are
-- at least 0, whole is above it.
CREATE OR REPLACE MACRO gcp_ratio_whole(part, whole) AS exact_units(part) // exact_units(whole);
CREATE OR REPLACE MACRO gcp_ratio_fraction(part, whole) AS
    CAST(
        share_floor(CAST(1 AS HUGEINT), exact_units(part) % exact_units(whole), exact_units(whole), CAST(1 AS HUGEINT))
        AS BIGINT
    );

-- gcp_covered_share(covered, net, cost, is_last): the part of a line, in units of the 18th place, that commitments have
-- covered so far; all of it once nothing is left to pay.
CREATE OR REPLACE MACRO gcp_covered_share(covered, net, cost, is_last) AS
    CASE
        WHEN is_last AND net = 0 THEN CAST(1000000000000000000 AS BIGINT)
        WHEN sign(covered) * sign(cost) <= 0 THEN CAST(0 AS BIGINT)
        WHEN abs(covered) >= abs(cost) THEN CAST(1000000000000000000 AS BIGINT)
        ELSE
            CAST(
                share_floor(
                    CAST(1 AS HUGEINT), exact_units(abs(covered)), exact_units(abs(cost)), CAST(1 AS HUGEINT)
                )
                AS BIGINT
            )
    END;

-- gcp_share_of(amount, share_before, share_through): a part of a line's amount; all of it without shares.
CREATE OR REPLACE MACRO gcp_share_of(amount, share_before, share_through) AS
    CASE
        WHEN share_through IS NULL THEN amount
        ELSE split_amount(whole_part(amount), fraction_units(amount), share_before, share_through)
    END;
