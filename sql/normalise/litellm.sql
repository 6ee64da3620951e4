-- One row for each line of a LiteLLM log: its standard logging payload as whole numbers, times and labels, and in
-- `problem` why it can't be used (NULL: it can). Token classes exclude each other and sum to the reported total.
WITH litellm_lines AS (
    SELECT * FROM litellm_lines
),

payloads AS (
    SELECT
        source_name,
        x_Day,
        source_file,
        source_row,
        strlen(line) AS bytes,
        TRY(
            from_json(
                line,
                '{
                    "id": "VARCHAR",
                    "status": "VARCHAR",
                    "startTime": "VARCHAR",
                    "endTime": "VARCHAR",
                    "model": "VARCHAR",
                    "model_group": "VARCHAR",
                    "custom_llm_provider": "VARCHAR",
                    "prompt_tokens": "VARCHAR",
                    "completion_tokens": "VARCHAR",
                    "total_tokens": "VARCHAR",
                    "cache_hit": "VARCHAR",
                    "end_user": "VARCHAR",
                    "request_tags": ["VARCHAR"],
                    "metadata": {
                        "user_api_key_hash": "VARCHAR",
                        "user_api_key_alias": "VARCHAR",
                        "user_api_key_team_id": "VARCHAR",
                        "user_api_key_team_alias": "VARCHAR",
                        "user_api_key_org_id": "VARCHAR",
                        "requester_metadata": "JSON",
                        "spend_logs_metadata": "JSON",
                        "usage_object": {
                            "cache_read_input_tokens": "VARCHAR",
                            "cache_creation_input_tokens": "VARCHAR",
                            "prompt_tokens_details": {
                                "cached_tokens": "VARCHAR",
                                "cache_creation_tokens": "VARCHAR",
                                "cache_write_tokens": "VARCHAR"
                            },
                            "completion_tokens_details": {"reasoning_tokens": "VARCHAR"}
                        }
                    }
                }'
            )
        ) AS payload
    FROM litellm_lines
),

-- A count is a whole number; an absent one is 0, anything else NULL.
counted AS (
    SELECT
        source_name,
        x_Day,
        source_file,
        source_row,
        bytes,
        payload,
        payload.metadata AS metadata,
        payload.metadata.usage_object AS usage_object,
        TRY_CAST(payload.startTime AS DECIMAL(16,6)) AS start_seconds,
        TRY_CAST(payload.endTime AS DECIMAL(16,6)) AS end_seconds,
        lower(coalesce(payload.cache_hit, '')) = 'true' AS is_cache_hit,
        TRY_CAST(regexp_extract(coalesce(payload.prompt_tokens, '0'), '^(\d{1,15})(\.0+)?$', 1) AS BIGINT) AS prompt,
        TRY_CAST(regexp_extract(coalesce(payload.completion_tokens, '0'), '^(\d{1,15})(\.0+)?$', 1) AS BIGINT)
            AS completion,
        TRY_CAST(regexp_extract(coalesce(payload.total_tokens, '0'), '^(\d{1,15})(\.0+)?$', 1) AS BIGINT) AS total,
        -- Anthropic's names and OpenAI's for the same tokens; LiteLLM fills one or both.
        TRY_CAST(
            regexp_extract(
                coalesce(
                    payload.metadata.usage_object.cache_read_input_tokens,
                    payload.metadata.usage_object.prompt_tokens_details.cached_tokens,
                    '0'
                ),
                '^(\d{1,15})(\.0+)?$', 1
            ) AS BIGINT
        ) AS cache_read,
        TRY_CAST(
            regexp_extract(
                coalesce(
                    payload.metadata.usage_object.cache_creation_input_tokens,
                    payload.metadata.usage_object.prompt_tokens_details.cache_creation_tokens,
                    payload.metadata.usage_object.prompt_tokens_details.cache_write_tokens,
                    '0'
                ),
                '^(\d{1,15})(\.0+)?$', 1
            ) AS BIGINT
        ) AS cache_write,
        TRY_CAST(
            regexp_extract(
                coalesce(payload.metadata.usage_object.completion_tokens_details.reasoning_tokens, '0'),
                '^(\d{1,15})(\.0+)?$', 1
            ) AS BIGINT
        ) AS reasoning
    FROM payloads
),

-- The provider's own shape shows in which parts sum to the total: cache inside the prompt (LiteLLM's normalised form),
-- cache beside it (Anthropic's own), reasoning beside the completion (xAI's own).
shaped AS (
    SELECT
        *,
        CASE
            WHEN prompt + completion = total THEN prompt - cache_read - cache_write
            WHEN prompt + cache_read + cache_write + completion = total THEN prompt
            WHEN prompt + completion + reasoning = total THEN prompt - cache_read - cache_write
        END AS input_uncached,
        CASE
            WHEN prompt + completion = total THEN completion
            WHEN prompt + cache_read + cache_write + completion = total THEN completion
            WHEN prompt + completion + reasoning = total THEN completion + reasoning
        END AS output,
        make_timestamp(CAST(trunc(start_seconds) AS BIGINT) * 1000000) AS started_at,
        make_timestamp(CAST(trunc(end_seconds) AS BIGINT) * 1000000) AS ended_at
    FROM counted
),

-- A request belongs to the hour in which it started; one that started before the log's day, to that in which it ended.
timed AS (
    SELECT
        *,
        CASE
            WHEN CAST(CAST(started_at AS DATE) AS VARCHAR) = x_Day THEN date_trunc('hour', started_at)
            WHEN CAST(CAST(ended_at AS DATE) AS VARCHAR) = x_Day THEN date_trunc('hour', ended_at)
        END AS hour
    FROM shaped
),

checked AS (
    SELECT
        *,
        CASE
            WHEN payload IS NULL THEN 'the line is not valid JSON'
            WHEN coalesce(payload.id, '') = '' THEN 'no id'
            WHEN payload.status IS NULL OR payload.status NOT IN ('success', 'failure')
                THEN 'status is neither success nor failure'
            WHEN started_at IS NULL THEN 'startTime is not a number of seconds since 1970'
            WHEN hour IS NULL THEN 'neither startTime nor endTime lies in the day of the log'
            WHEN prompt IS NULL THEN 'prompt_tokens is not a whole number'
            WHEN completion IS NULL THEN 'completion_tokens is not a whole number'
            WHEN total IS NULL THEN 'total_tokens is not a whole number'
            WHEN cache_read IS NULL THEN 'the cached tokens of usage_object are not a whole number'
            WHEN cache_write IS NULL THEN 'the cache-creation tokens of usage_object are not a whole number'
            WHEN reasoning IS NULL THEN 'the reasoning tokens of usage_object are not a whole number'
            WHEN input_uncached IS NULL THEN 'the token classes do not sum to total_tokens'
            WHEN input_uncached < 0 THEN 'more cached tokens than prompt_tokens'
            WHEN reasoning > output THEN 'more reasoning tokens than completion_tokens'
        END AS problem
    FROM timed
),

-- Many requests say the same of themselves: labels are made once for each distinct saying.
stated AS (
    SELECT
        *,
        {
            'requester_metadata': metadata.requester_metadata,
            'spend_logs_metadata': metadata.spend_logs_metadata,
            'request_tags': payload.request_tags,
            'team': metadata.user_api_key_team_alias,
            'customer': payload.end_user,
            'model': payload.model_group,
            'user_api_key_alias': metadata.user_api_key_alias,
            'user_api_key_team_id': metadata.user_api_key_team_id,
            'user_api_key_org_id': metadata.user_api_key_org_id
        } AS statement
    FROM checked
),

statements AS (
    SELECT DISTINCT statement FROM stated WHERE problem IS NULL
),

-- An object that gives a key twice says nothing: a map of it would be an error.
objects AS (
    SELECT
        statement,
        CASE
            WHEN list_unique(json_keys(statement.requester_metadata)) = len(json_keys(statement.requester_metadata))
                THEN map_entries(from_json(statement.requester_metadata, '"MAP(VARCHAR, JSON)"'))
        END AS requester_entries,
        CASE
            WHEN list_unique(json_keys(statement.spend_logs_metadata)) = len(json_keys(statement.spend_logs_metadata))
                THEN map_entries(from_json(statement.spend_logs_metadata, '"MAP(VARCHAR, JSON)"'))
        END AS spend_logs_entries
    FROM statements
),

-- What the caller says wins over what the gateway knows of the key.
all_labels AS (
    SELECT
        statement,
        list_concat(
            list_transform(
                list_filter(
                    list_concat(coalesce(requester_entries, []), coalesce(spend_logs_entries, [])),
                    lambda entry: json_type(entry.value) IN ('VARCHAR', 'BIGINT', 'UBIGINT', 'DOUBLE', 'BOOLEAN')
                ),
                lambda entry: {'key': entry.key, 'value': json_extract_string(entry.value, '$')}
            ),
            list_transform(
                list_filter(coalesce(statement.request_tags, []), lambda request_tag: contains(request_tag, ':')),
                lambda request_tag: {
                    'key': trim(request_tag[:instr(request_tag, ':') - 1]),
                    'value': trim(request_tag[instr(request_tag, ':') + 1:])
                }
            ),
            [
                {'key': 'team', 'value': statement.team},
                {'key': 'customer', 'value': statement.customer},
                {'key': 'model', 'value': statement.model},
                {'key': 'user_api_key_alias', 'value': statement.user_api_key_alias},
                {'key': 'user_api_key_team_id', 'value': statement.user_api_key_team_id},
                {'key': 'user_api_key_org_id', 'value': statement.user_api_key_org_id}
            ]
        ) AS labels
    FROM objects
),

given_labels AS (
    SELECT
        statement,
        list_filter(labels, lambda label: trim(coalesce(label.value, '')) <> '') AS labels
    FROM all_labels
),

labels AS (
    SELECT
        statement,
        CAST(
            to_json(
                map_from_entries(
                    list_sort(
                        list_filter(
                            labels,
                            lambda label, position:
                                list_position(list_transform(labels, lambda other: other.key), label.key) = position
                        )
                    )
                )
            ) AS VARCHAR
        ) AS labels
    FROM given_labels
)

SELECT
    source_name,
    x_Day,
    source_file,
    source_row,
    problem,
    -- Only what is read here: the rest may be personal.
    CASE
        WHEN problem IS NOT NULL
            THEN
                CAST(
                    to_json(
                        {
                            'bytes': bytes,
                            'id': payload.id,
                            'status': payload.status,
                            'startTime': payload.startTime,
                            'endTime': payload.endTime,
                            'model': payload.model,
                            'prompt_tokens': payload.prompt_tokens,
                            'completion_tokens': payload.completion_tokens,
                            'total_tokens': payload.total_tokens,
                            'usage_object': usage_object
                        }
                    ) AS VARCHAR
                )
    END AS row_json,
    payload.id AS request_id,
    hour,
    nullif(payload.custom_llm_provider, '') AS provider,
    coalesce(nullif(payload.model_group, ''), nullif(payload.model, '')) AS endpoint,
    coalesce(nullif(payload.model_group, ''), nullif(payload.model, '')) AS model_requested,
    nullif(payload.model, '') AS model_served,
    nullif(metadata.user_api_key_hash, '') AS api_key_hash,
    labels.labels,
    -- The gateway answered from its own cache: the provider did no work.
    CASE WHEN is_cache_hit THEN 0 ELSE input_uncached END AS input_uncached,
    CASE WHEN is_cache_hit THEN 0 ELSE cache_read END AS cache_read,
    CASE WHEN is_cache_hit THEN 0 ELSE cache_write END AS cache_write,
    CASE WHEN is_cache_hit THEN 0 ELSE output END AS output,
    CASE WHEN is_cache_hit THEN 0 ELSE reasoning END AS reasoning,
    payload.status = 'failure' AS is_failure
FROM stated
LEFT JOIN labels USING (statement)
