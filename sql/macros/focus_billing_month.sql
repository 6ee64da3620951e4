-- focus_billing_month(period_start, period_end): first moment of the calendar month, UTC, that a FOCUS billing period is of.
--
-- It is the month of the period's middle: some generators write the month in their own time zone, end it on its last day
-- instead of the next first, or call a day a billing period (LiteLLM). NULL where the start is.
CREATE OR REPLACE MACRO focus_billing_month(period_start, period_end) AS
    date_trunc(
        'month',
        period_start
        + to_microseconds(
            CASE
                WHEN period_end > period_start
                    THEN least(date_diff('microsecond', period_start, period_end), 2419200000000) // 2
                ELSE 0
            END
        )
    );
