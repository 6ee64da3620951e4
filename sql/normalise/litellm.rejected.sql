-- One row for each log line that can't be used, and why.
SELECT
    source_name,
    x_Day,
    source_file,
    source_row,
    problem AS reason,
    row_json
FROM litellm_requests
WHERE problem IS NOT NULL
ORDER BY source_name, x_Day, source_file, source_row
