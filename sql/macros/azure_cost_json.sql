-- azure_cost_json(given): the JSON object that Azure writes with or without its braces, as text; NULL where it is none.
CREATE OR REPLACE MACRO azure_cost_json(given) AS
    CASE
        WHEN starts_with(trim(given), '{') THEN CASE WHEN json_valid(given) THEN given END
        WHEN json_valid('{' || given || '}') THEN '{' || given || '}'
    END;

-- azure_cost_has_tags(given): whether a tag column can be read as an object, each of its keys once.
CREATE OR REPLACE MACRO azure_cost_has_tags(given) AS
    coalesce(
        len(json_keys(azure_cost_json(given))) = len(list_distinct(json_keys(azure_cost_json(given)))), false
    );

-- azure_cost_tags_json(given): the JSON text of an Azure tag column as FOCUS Tags: one flat object, keys in byte order; NULL
-- without tags. What can't be read as an object stays, whole, under x_UnreadTags, so that nothing is lost.
CREATE OR REPLACE MACRO azure_cost_tags_json(given) AS
    CASE
        WHEN nullif(trim(given), '') IS NULL OR azure_cost_json(given) = '{}' THEN NULL
        WHEN azure_cost_has_tags(given) THEN
            CAST(
                to_json(
                    map_from_entries(
                        list_sort(map_entries(CAST(CAST(azure_cost_json(given) AS JSON) AS MAP(VARCHAR, VARCHAR))))
                    )
                ) AS VARCHAR
            )
        ELSE CAST(to_json({'x_UnreadTags': given}) AS VARCHAR)
    END;
