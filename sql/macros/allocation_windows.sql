-- The end of the UTC hour that a time lies in, or the time itself where an hour starts.
CREATE OR REPLACE MACRO next_full_hour(moment) AS
    date_trunc('hour', moment) + CASE WHEN moment > date_trunc('hour', moment) THEN INTERVAL 1 HOUR ELSE INTERVAL 0 HOUR END;

-- The window in which a pooled charge is divided (CONTRACTS.md §4): the grain's UTC hour, day or calendar month if the
-- charge lies inside one; a charge of an hourly rule that is longer than an hour falls back to its day; any other has
-- its own period, widened to whole hours because measurements are hourly.
CREATE OR REPLACE MACRO allocation_window_start(grain, period_start, period_end) AS
    CASE
        WHEN grain = 'hour' AND period_end <= date_trunc('hour', period_start) + INTERVAL 1 HOUR
            THEN date_trunc('hour', period_start)
        WHEN grain IN ('hour', 'day') AND period_end <= date_trunc('day', period_start) + INTERVAL 1 DAY
            THEN CAST(date_trunc('day', period_start) AS TIMESTAMP)
        WHEN grain = 'month' AND period_end <= date_trunc('month', period_start) + INTERVAL 1 MONTH
            THEN CAST(date_trunc('month', period_start) AS TIMESTAMP)
        ELSE date_trunc('hour', period_start)
    END;

CREATE OR REPLACE MACRO allocation_window_end(grain, period_start, period_end) AS
    CASE
        WHEN grain = 'hour' AND period_end <= date_trunc('hour', period_start) + INTERVAL 1 HOUR
            THEN date_trunc('hour', period_start) + INTERVAL 1 HOUR
        WHEN grain IN ('hour', 'day') AND period_end <= date_trunc('day', period_start) + INTERVAL 1 DAY
            THEN date_trunc('day', period_start) + INTERVAL 1 DAY
        WHEN grain = 'month' AND period_end <= date_trunc('month', period_start) + INTERVAL 1 MONTH
            THEN date_trunc('month', period_start) + INTERVAL 1 MONTH
        ELSE next_full_hour(period_end)
    END;
