-- try_exact_decimal_of_text(number): decimal text, with or without an exponent, as DECIMAL(38,18), rounded half away from
-- zero at the 18th place (CONTRACTS.md §1). NULL for NULL, for what is no number, and from 10^20 on.
--
-- Fast path: text of at most 15 characters has at most 15 digits, and what a double of it reads back as is the same
-- number; reading text as DECIMAL(38,18) costs ten times as much.
-- Below half a unit of the 18th place DuckDB 1.5's cast of text with an exponent rounds up instead of to zero.
CREATE OR REPLACE MACRO try_exact_decimal_of_text(number) AS
    CASE
        WHEN strlen(number) <= 15 THEN try_exact_decimal(TRY_CAST(number AS DOUBLE))
        WHEN contains(lower(number), 'e-') AND abs(TRY_CAST(number AS DOUBLE)) < 5e-19 THEN CAST(0 AS DECIMAL(38, 18))
        ELSE TRY_CAST(number AS DECIMAL(38, 18))
    END;
