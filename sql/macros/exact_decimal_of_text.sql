-- try_exact_decimal_of_text(number): decimal text, with or without an exponent, as DECIMAL(38,18), rounded half away from
-- zero at the 18th place (CONTRACTS.md §1). NULL for NULL, for what is no number, and from 10^20 on.
--
-- DuckDB's casts take more than a bill may mean: 1_000 for 1000, +-1 for -1. The latter begins with a sign or a blank, which
-- stand before '-': comparing costs less than looking into each text. Blanks around a number change nothing.
-- Fast path: text of at most 15 characters has at most 15 digits, and what a double of it reads back as is the same
-- number; reading text as DECIMAL(38,18) costs ten times as much.
-- Below half a unit of the 18th place DuckDB 1.5's cast of text with an exponent rounds up instead of to zero.
CREATE OR REPLACE MACRO try_exact_decimal_of_text(number) AS
    CASE
        WHEN contains(number, '_') THEN NULL
        WHEN number < '-' AND contains(number, '+-') THEN NULL
        WHEN strlen(number) <= 15 THEN try_exact_decimal(TRY_CAST(number AS DOUBLE))
        WHEN contains(lower(number), 'e-') AND abs(TRY_CAST(number AS DOUBLE)) < 5e-19 THEN CAST(0 AS DECIMAL(38, 18))
        ELSE TRY_CAST(number AS DECIMAL(38, 18))
    END;

-- is_number_too_large(number): whether a number, or text that is one, lies beyond DECIMAL(38,18): 10^20 and above. The double
-- only finds what may: 99999999999999999999 is 10^20 as a double, and fits.
CREATE OR REPLACE MACRO is_number_too_large(number) AS
    coalesce(
        isfinite(TRY_CAST(number AS DOUBLE)) AND abs(TRY_CAST(number AS DOUBLE)) >= 1e20
        AND TRY_CAST(number AS DECIMAL(38, 18)) IS NULL
        AND NOT contains(CAST(number AS VARCHAR), '_'),
        false
    );
