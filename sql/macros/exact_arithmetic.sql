-- What a number has behind its point, in units of the 18th place: a BIGINT with the number's sign. Through the text,
-- which always shows 18 places: a cast to an integer rounds, and dividing 128-bit integers takes four times as long.
CREATE OR REPLACE MACRO fraction_units(number) AS
    CASE WHEN number < 0 THEN -1 ELSE 1 END
    * CAST(right(CAST(CAST(number AS DECIMAL(38,18)) AS VARCHAR), 18) AS BIGINT);

-- What a number has before its point, towards zero: up to 20 digits, whose product with a share fits DECIMAL(38,18).
-- Through BIGINT where it fits one: reading text as DECIMAL(20,0) takes ten times as long. No CASE, in whose branches
-- DuckDB 1.5 would make the text a second time, beside that of fraction_units().
CREATE OR REPLACE MACRO whole_part(number) AS
    coalesce(
        CAST(TRY_CAST(left(CAST(CAST(number AS DECIMAL(38,18)) AS VARCHAR), -19) AS BIGINT) AS DECIMAL(20,0)),
        CAST(left(CAST(CAST(number AS DECIMAL(38,18)) AS VARCHAR), -19) AS DECIMAL(20,0))
    );

-- A number with at most 18 places as a whole number of units of its 18th place, exactly.
CREATE OR REPLACE MACRO exact_units(number) AS
    CAST(replace(CAST(CAST(number AS DECIMAL(38,18)) AS VARCHAR), '.', '') AS HUGEINT);

-- R(fraction * share / 10^18) of CONTRACTS.md §5: what of a fraction (units of the 18th place, BIGINT) the parts up to
-- a cumulative share (BIGINT of 10^18) hold, rounded half away from zero. Limbs of 10^9 keep every step inside BIGINT.
CREATE OR REPLACE MACRO cumulative_fraction(fraction, share) AS
    (fraction // 1000000000) * (share // 1000000000)
    + (
        (fraction // 1000000000) * (share % 1000000000)
        + (fraction % 1000000000) * (share // 1000000000)
        + (
            (fraction % 1000000000) * (share % 1000000000)
            + CASE WHEN fraction < 0 THEN -500000000000000000 ELSE 500000000000000000 END
        ) // 1000000000
    ) // 1000000000;

-- One part of an amount: R(amount * share_through / 10^18) - R(amount * share_before / 10^18), exact for amounts below
-- 10^20. The amount comes as whole_part() and fraction_units(), which are made once for a charge, not once for a part.
CREATE OR REPLACE MACRO split_amount(whole, fraction, share_before, share_through) AS
    CAST(
        whole * (CAST(share_through - share_before AS DECIMAL(19,0)) * CAST('0.000000000000000001' AS DECIMAL(18,18)))
        AS DECIMAL(38,18)
    )
    + CAST(cumulative_fraction(fraction, share_through) - cumulative_fraction(fraction, share_before) AS DECIMAL(19,0))
    * CAST('0.000000000000000001' AS DECIMAL(18,18));

-- floor(10^18 * multiplier * part / (whole * divisor)); all HUGEINT, from 0 to 10^32, part <= whole, both divisors > 0.
-- Long division in digits of 10^5: after each digit the remainder by `whole`, then the one by `divisor`, is carried on,
-- so that no step passes 2 * 10^37. The eighteen zeros are a factor of 1000 and three digits (the places 0).
-- The operands travel inside the list: DuckDB 1.5's list_reduce mixes up rows when its lambda reads a column and the
-- lists differ in length.
CREATE OR REPLACE MACRO share_floor(multiplier, part, whole, divisor) AS
    list_reduce(
        list_transform(
            list_filter(
                [
                    100000000000000000000000000000000000::HUGEINT, 1000000000000000000000000000000::HUGEINT,
                    10000000000000000000000000::HUGEINT, 100000000000000000000::HUGEINT, 1000000000000000::HUGEINT,
                    10000000000::HUGEINT, 100000::HUGEINT, 1::HUGEINT, 0::HUGEINT, 0::HUGEINT, 0::HUGEINT
                ],
                lambda place: place <= 1000 * multiplier
            ),
            lambda place: {
                'parts': part * CASE WHEN place = 0 THEN 0::HUGEINT ELSE ((1000 * multiplier) // place) % 100000 END,
                'whole': whole, 'divisor': divisor,
                'quotient': 0::HUGEINT, 'rest_of_whole': 0::HUGEINT, 'rest_of_divisor': 0::HUGEINT
            }
        ),
        lambda state, next: {
            'parts': 0::HUGEINT, 'whole': next.whole, 'divisor': next.divisor,
            'quotient':
                state.quotient * 100000
                + (
                    state.rest_of_divisor * 100000
                    + (state.rest_of_whole * 100000 + next.parts) // next.whole
                ) // next.divisor,
            'rest_of_whole': (state.rest_of_whole * 100000 + next.parts) % next.whole,
            'rest_of_divisor':
                (
                    state.rest_of_divisor * 100000
                    + (state.rest_of_whole * 100000 + next.parts) // next.whole
                ) % next.divisor
        },
        {
            'parts': 0::HUGEINT, 'whole': 1::HUGEINT, 'divisor': 1::HUGEINT,
            'quotient': 0::HUGEINT, 'rest_of_whole': 0::HUGEINT, 'rest_of_divisor': 0::HUGEINT
        }
    ).quotient;

-- A whole number of units of the 18th place as a number: what exact_units() counted.
CREATE OR REPLACE MACRO number_of_units(units) AS
    CAST(units // 1000000000000000000::HUGEINT AS DECIMAL(38,18))
    + CAST(units % 1000000000000000000::HUGEINT AS DECIMAL(18,0)) * CAST('0.000000000000000001' AS DECIMAL(18,18));

-- A decimal as JSON writes a number: no zeros at its end, no point without a digit behind it.
CREATE OR REPLACE MACRO decimal_text(number) AS
    CASE
        WHEN contains(CAST(number AS VARCHAR), '.') THEN rtrim(rtrim(CAST(number AS VARCHAR), '0'), '.')
        ELSE CAST(number AS VARCHAR)
    END;

-- What the first of `parts` equal parts of some units hold together, rounded half away from zero.
CREATE OR REPLACE MACRO even_parts_through(units, nth, parts) AS
    (units // parts) * nth
    + (2 * (units % parts) * nth + CASE WHEN units < 0 THEN -parts ELSE parts END) // (2 * parts);

-- The part of an amount that falls to one of `parts` equal parts, counted from 1: rounded cumulatively (half away from
-- zero at the 18th place), so that the parts sum to the amount. Exact for amounts below 10^20 and up to 10^5 parts.
CREATE OR REPLACE MACRO even_part(amount, nth, parts) AS
    number_of_units(
        even_parts_through(exact_units(amount), nth, parts) - even_parts_through(exact_units(amount), nth - 1, parts)
    );
