-- aws_cur_tags_json(tags): the JSON text of a CUR tag map as FOCUS Tags: one flat object, keys in byte order, user tags
-- without AWS's prefix (`user:` in the legacy report, `user_` in CUR 2.0), AWS's own with `aws:`. NULL without tags.
-- Where two keys become one, the one that had the prefix stays.
CREATE OR REPLACE MACRO aws_cur_tags_json(tags) AS
    CASE
        WHEN tags <> '{}' THEN
            aws_cur_json_object(
                list_transform(
                    map_entries(CAST(CAST(tags AS JSON) AS MAP(VARCHAR, VARCHAR))),
                    lambda tag: {
                        'key': CASE
                            WHEN starts_with(tag.key, 'user:') OR starts_with(tag.key, 'user_') THEN substr(tag.key, 6)
                            WHEN starts_with(tag.key, 'aws_') THEN 'aws:' || substr(tag.key, 5)
                            ELSE tag.key
                        END,
                        'rank': CASE WHEN starts_with(tag.key, 'user') THEN 0 ELSE 1 END,
                        'value': tag.value
                    }
                )
            )
    END;
