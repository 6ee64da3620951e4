-- try_exact_decimal(number): a DOUBLE as the DECIMAL(38,18) of its shortest text that reads back as the same double,
-- rounded half away from zero at the 18th place (CONTRACTS.md §1). NULL for NULL, not-a-number, infinite, 10^20 and above.
--
-- Fast path: at most 15 significant digits that read back are the shortest text, because two decimals of 15 digits are
-- never the same double. A decimal of 15 digits with 10 places holds nearly every price and cost; with 4 places, large
-- quantities. A direct cast to 18 places would invent digits; text alone costs ten times as much.
-- Below half a unit of the 18th place DuckDB 1.5's cast of text with an exponent rounds up instead of to zero.
CREATE OR REPLACE MACRO try_exact_decimal(number) AS
    CASE
        WHEN CAST(TRY_CAST(number AS DECIMAL(15, 10)) AS DOUBLE) = number
            THEN CAST(TRY_CAST(number AS DECIMAL(15, 10)) AS DECIMAL(38, 18))
        WHEN CAST(TRY_CAST(number AS DECIMAL(15, 4)) AS DOUBLE) = number
            THEN CAST(TRY_CAST(number AS DECIMAL(15, 4)) AS DECIMAL(38, 18))
        WHEN abs(number) < 5e-19 THEN CAST(0 AS DECIMAL(38, 18))
        ELSE TRY_CAST(CAST(number AS VARCHAR) AS DECIMAL(38, 18))
    END;
