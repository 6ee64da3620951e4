-- Hour by endpoint, model, key and dimensions: requests and the tokens they drew, in classes that exclude each other.
-- A request that a log holds twice counts once, as it stands first.
WITH litellm_requests AS (
    SELECT * FROM litellm_requests WHERE problem IS NULL
),

request_dimensions AS (
    SELECT * FROM request_dimensions
),

first_lines AS (
    SELECT *
    FROM litellm_requests
    QUALIFY row_number() OVER (PARTITION BY source_name, x_Day, request_id ORDER BY source_file, source_row) = 1
),

labelled AS (
    SELECT
        first_lines.*,
        request_dimensions.team,
        request_dimensions.product,
        request_dimensions.feature,
        request_dimensions.model,
        request_dimensions.environment,
        request_dimensions.customer,
        request_dimensions.cost_center,
        request_dimensions.dimensions
    FROM first_lines
    LEFT JOIN request_dimensions ON first_lines.labels IS NOT DISTINCT FROM request_dimensions.tags
)

SELECT
    x_Day,
    hour,
    source_name,
    provider,
    endpoint,
    model_requested,
    model_served,
    api_key_hash,
    team,
    product,
    feature,
    model,
    environment,
    customer,
    cost_center,
    dimensions,
    CAST(sum(input_uncached) AS BIGINT) AS tokens_input_uncached,
    CAST(sum(cache_read) AS BIGINT) AS tokens_cache_read,
    CAST(sum(cache_write) AS BIGINT) AS tokens_cache_write,
    CAST(sum(output) AS BIGINT) AS tokens_output,
    CAST(sum(reasoning) AS BIGINT) AS tokens_reasoning,
    count(*) AS requests,
    count(*) FILTER (WHERE is_failure) AS requests_failed
FROM labelled
GROUP BY
    x_Day, hour, source_name, provider, endpoint, model_requested, model_served, api_key_hash, team, product, feature,
    model, environment, customer, cost_center, dimensions
ORDER BY
    x_Day, hour, source_name, provider, endpoint, model_requested, model_served, api_key_hash, team, product, feature,
    model, environment, customer, cost_center, dimensions
