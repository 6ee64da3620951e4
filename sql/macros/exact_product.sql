-- exact_product(a, b): a * b as DECIMAL(38,18), rounded half away from zero at the 18th place; NULL when either is NULL.
-- Exact for any two DECIMAL(38,18) whose product is below 10^20; DuckDB's own `*` of two such numbers overflows.
--
-- Fast path: two numbers of at most nine places and digits before the point multiply exactly in DECIMAL(36,18).
-- Else both are split at the point: of (a1 + a0)(b1 + b0) only a0 * b0 has more than 18 places.
CREATE OR REPLACE MACRO exact_product(a, b) AS
    CASE
        WHEN TRY_CAST(a AS DECIMAL(18, 9)) = a AND TRY_CAST(b AS DECIMAL(18, 9)) = b
            THEN CAST(CAST(a AS DECIMAL(18, 9)) * CAST(b AS DECIMAL(18, 9)) AS DECIMAL(38, 18))
        ELSE
            CASE WHEN (a < 0) = (b < 0) THEN 1 ELSE -1 END
            * number_of_units(
                (exact_units(abs(a)) // 1000000000000000000::HUGEINT) * exact_units(abs(b))
                + (exact_units(abs(a)) % 1000000000000000000::HUGEINT) * (exact_units(abs(b)) // 1000000000000000000::HUGEINT)
                + (
                    (exact_units(abs(a)) % 1000000000000000000::HUGEINT)
                    * (exact_units(abs(b)) % 1000000000000000000::HUGEINT)
                    + 500000000000000000::HUGEINT
                ) // 1000000000000000000::HUGEINT
            )
    END;
