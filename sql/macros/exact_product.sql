-- nine_places(number): the number in DECIMAL(18,9), as near as that comes; the same where it has no more than nine places and
-- digits before the point. Through a double, which is a third of the price of casting 128 bits down.
CREATE OR REPLACE MACRO nine_places(number) AS TRY_CAST(CAST(number AS DOUBLE) AS DECIMAL(18, 9));

-- exact_product_of(a, short_a, b, short_b): a * b as DECIMAL(38,18), rounded half away from zero at the 18th place; NULL when
-- either is NULL. Exact for any two DECIMAL(38,18) whose product is below 10^20; DuckDB's own `*` of two such overflows.
-- short_a and short_b are their nine_places(), made once for a line, not once a product.
--
-- Fast path: two numbers of at most nine places multiply exactly in DECIMAL(36,18). Else both are split at the point: of
-- (a1 + a0)(b1 + b0) only a0 * b0 has more than 18 places.
CREATE OR REPLACE MACRO exact_product_of(a, short_a, b, short_b) AS
    CASE
        WHEN short_a = a AND short_b = b THEN CAST(short_a * short_b AS DECIMAL(38, 18))
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

-- exact_product(a, b): the same of two numbers that are multiplied once.
CREATE OR REPLACE MACRO exact_product(a, b) AS exact_product_of(a, nine_places(a), b, nine_places(b));
