-- ratio(n, d): n / d as DECIMAL(38,18), rounded half away from zero at the 18th place; NULL when d is 0 or either is NULL.
-- Exact for numbers below 10^20: DuckDB's own `/` gives a DOUBLE. A result of 10^20 or more is an error.
--
-- Both numbers become integers over 10^18 (through their text: a cast rounds). The whole part is one division; the 18
-- places follow in two steps of 9. A step estimates its digits with the divisor cut by 10^9, because the remainder times
-- 10^9 does not fit a HUGEINT. With a divisor of at least 10^18 the estimate is right or one too large, never more:
-- its error is below (divisor % 10^9) / (divisor // 10^9) < 1. No lambdas: their syntax differs between DuckDB 1.2 and 2.
CREATE OR REPLACE MACRO ratio(n, d) AS (
    WITH integers AS (
        SELECT
            CAST(replace(CAST(CAST(n AS DECIMAL(38, 18)) AS VARCHAR), '.', '') AS HUGEINT) AS signed_dividend,
            nullif(CAST(replace(CAST(CAST(d AS DECIMAL(38, 18)) AS VARCHAR), '.', '') AS HUGEINT), 0) AS signed_divisor
    ),

    magnitudes AS (
        SELECT
            CASE WHEN (signed_dividend < 0) = (signed_divisor < 0) THEN 1 ELSE -1 END AS sign,
            abs(signed_dividend) AS dividend,
            abs(signed_divisor) AS divisor,
            CASE
                WHEN abs(signed_divisor) < CAST('100000000000000000000' AS HUGEINT)
                    THEN CAST('1000000000000000000' AS HUGEINT)
                ELSE CAST(1 AS HUGEINT)
            END AS widening
        FROM integers
    ),

    whole_part AS (
        SELECT
            sign,
            dividend // divisor AS whole,
            (dividend % divisor) * widening AS remainder,
            divisor * widening AS divisor
        FROM magnitudes
    ),

    first_estimate AS (
        SELECT
            sign,
            whole,
            divisor,
            remainder // (divisor // 1000000000) AS digits,
            (remainder % (divisor // 1000000000)) * 1000000000
            - (remainder // (divisor // 1000000000)) * (divisor % 1000000000) AS remainder
        FROM whole_part
    ),

    first_nine AS (
        SELECT
            sign,
            whole,
            divisor,
            CASE WHEN remainder < 0 THEN digits - 1 ELSE digits END AS first_digits,
            CASE WHEN remainder < 0 THEN remainder + divisor ELSE remainder END AS remainder
        FROM first_estimate
    ),

    second_estimate AS (
        SELECT
            sign,
            whole,
            divisor,
            first_digits,
            remainder // (divisor // 1000000000) AS digits,
            (remainder % (divisor // 1000000000)) * 1000000000
            - (remainder // (divisor // 1000000000)) * (divisor % 1000000000) AS remainder
        FROM first_nine
    ),

    second_nine AS (
        SELECT
            sign,
            whole,
            divisor,
            first_digits,
            CASE WHEN remainder < 0 THEN digits - 1 ELSE digits END AS last_digits,
            CASE WHEN remainder < 0 THEN remainder + divisor ELSE remainder END AS remainder
        FROM second_estimate
    ),

    rounded AS (
        SELECT
            sign,
            whole,
            first_digits * 1000000000 + last_digits
            + CASE WHEN remainder >= divisor - remainder THEN 1 ELSE 0 END AS places
        FROM second_nine
    )

    SELECT
        sign * (
            CAST(whole AS DECIMAL(38, 18))
            + CAST(places AS DECIMAL(19, 0)) * CAST('0.000000000000000001' AS DECIMAL(18, 18))
        )
    FROM rounded
);
