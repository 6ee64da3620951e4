-- focus_pairs(pairs): a list of key and value pairs as the text of one JSON object, in the list's order; NULL for NULL.
CREATE OR REPLACE MACRO focus_pairs(pairs) AS
    '{' || list_aggregate(
        list_transform(
            pairs,
            lambda pair: CAST(to_json(pair.key) AS VARCHAR) || ':' || coalesce(CAST(to_json(pair.value) AS VARCHAR), 'null')
        ),
        'string_agg',
        ','
    ) || '}';

-- focus_object(text): a JSON object of a FOCUS file as text. Objects stand as delivered; a list of key and value pairs, and an
-- object without its braces (Azure's older exports), become one. NULL for anything else.
CREATE OR REPLACE MACRO focus_object(text) AS
    CASE
        WHEN json_valid(text) THEN
            CASE json_type(text)
                WHEN 'OBJECT' THEN CASE WHEN text LIKE '{%}' THEN text ELSE regexp_replace(text, '^\s+|\s+$', '', 'g') END
                WHEN 'ARRAY' THEN focus_pairs(TRY_CAST(CAST(text AS JSON) AS STRUCT("key" VARCHAR, "value" JSON)[]))
            END
        WHEN text LIKE '"%' AND json_valid('{' || text || '}') THEN '{' || text || '}'
    END;
