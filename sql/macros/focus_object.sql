-- focus_object(text): a JSON object of a FOCUS file as text. Objects stand as delivered; a list of key and value pairs, and an
-- object without its braces (Azure's older exports), become one. NULL for anything else.
CREATE OR REPLACE MACRO focus_object(text) AS
    CASE
        WHEN text LIKE '{%}' AND json_valid(text) THEN text
        WHEN json_valid(text) AND json_type(text) = 'OBJECT' THEN trim(text)
        WHEN json_valid(text) AND json_type(text) = 'ARRAY' THEN
            CAST(
                to_json(
                    map_from_entries(
                        list_transform(
                            TRY_CAST(CAST(text AS JSON) AS STRUCT("key" VARCHAR, "value" JSON)[]),
                            lambda entry: {'key': entry.key, 'value': entry.value}
                        )
                    )
                ) AS VARCHAR
            )
        WHEN text LIKE '"%' AND json_valid('{' || text || '}') THEN '{' || text || '}'
    END;
