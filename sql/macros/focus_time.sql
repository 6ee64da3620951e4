-- focus_time(text): a time of a FOCUS file as TIMESTAMP in UTC: ISO 8601 with any offset, without one UTC, with or without
-- seconds (Oracle and Azure print 2024-10-01T00:00Z). NULL for any other text: DuckDB alone would read 4/1/25 as the year 4.
CREATE OR REPLACE MACRO focus_time(text) AS
    CASE
        WHEN text LIKE '____-__-__%' THEN
            timezone(
                'UTC',
                coalesce(
                    TRY_CAST(text AS TIMESTAMP WITH TIME ZONE),
                    TRY_CAST(
                        regexp_replace(
                            replace(replace(upper(trim(text)), ' UTC', ''), ' Z', 'Z'),
                            '([T ]\d{2}:\d{2}) ?(Z|[+-]\d{2}:?\d{2})$',
                            '\1:00\2'
                        ) AS TIMESTAMP WITH TIME ZONE
                    )
                )
            )
    END;
