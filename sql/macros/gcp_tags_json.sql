-- gcp_tag_set(labels, project_labels, project_ancestors, system_labels, tags): all that marks a line, as one JSON text.
CREATE OR REPLACE MACRO gcp_tag_set(labels, project_labels, project_ancestors, system_labels, tags) AS
    CAST(
        to_json(
            {
                'labels': labels,
                'project': project_labels,
                'ancestors': project_ancestors,
                'system': system_labels,
                'tags': tags
            }
        )
        AS VARCHAR
    );

-- gcp_tag_entries(...): one origin's keys and values with its prefix; an empty key is none.
CREATE OR REPLACE MACRO gcp_tag_entries(entries, prefix) AS
    list_transform(
        list_filter(coalesce(entries, []), lambda entry: entry.key <> ''),
        lambda entry: {'key': prefix || entry.key, 'rank': 0, 'value': coalesce(entry.value, '')}
    );

-- gcp_tags_json(tag_set): a gcp_tag_set() as FOCUS Tags: one flat object, keys in byte order. The resource's labels
-- have no prefix, so that rules read them as other clouds' tags. Labels of the project have project:, resource manager
-- tags tag: (and their namespace), ancestors of the project ancestor:, system labels system: unless their key names
-- Google's service. NULL without any.
CREATE OR REPLACE MACRO gcp_tags_json(tag_set) AS (
    SELECT
        CASE WHEN len(entries) > 0 THEN aws_cur_json_object(entries) END
    FROM (
        SELECT
            list_concat(
                gcp_tag_entries(origins.labels, ''),
                gcp_tag_entries(origins.project, 'project:'),
                list_transform(
                    list_filter(coalesce(origins.ancestors, []), lambda entry: entry.resource_name <> ''),
                    lambda entry: {
                        'key': 'ancestor:' || entry.resource_name, 'rank': 0, 'value': coalesce(entry.display_name, '')
                    }
                ),
                gcp_tag_entries(list_filter(coalesce(origins.system, []), lambda entry: contains(entry.key, '/')), ''),
                gcp_tag_entries(
                    list_filter(coalesce(origins.system, []), lambda entry: NOT contains(entry.key, '/')), 'system:'
                ),
                list_transform(
                    list_filter(coalesce(origins.tags, []), lambda entry: entry.key <> ''),
                    lambda entry: {
                        'key': 'tag:' || coalesce(nullif(entry.namespace, '') || '/', '') || entry.key,
                        'rank': 0,
                        'value': coalesce(entry.value, '')
                    }
                )
            ) AS entries
        FROM (
            SELECT
                CAST(
                    CAST(tag_set AS JSON) AS STRUCT(
                        labels STRUCT("key" VARCHAR, "value" VARCHAR)[],
                        project STRUCT("key" VARCHAR, "value" VARCHAR)[],
                        ancestors STRUCT(resource_name VARCHAR, display_name VARCHAR)[],
                        "system" STRUCT("key" VARCHAR, "value" VARCHAR)[],
                        tags STRUCT(namespace VARCHAR, "key" VARCHAR, "value" VARCHAR)[]
                    )
                ) AS origins
        )
    )
);

-- gcp_label(labels, name): the value of one label in the JSON text of a line's labels.
CREATE OR REPLACE MACRO gcp_label(labels, name) AS
    list_extract(
        list_transform(
            list_filter(
                CAST(CAST(labels AS JSON) AS STRUCT("key" VARCHAR, "value" VARCHAR)[]), lambda entry: entry.key = name
            ),
            lambda entry: entry.value
        ),
        1
    );
