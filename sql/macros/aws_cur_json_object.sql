-- aws_cur_json_object(entries): entries {key, rank, value} as the text of one flat JSON object, keys in byte order; of
-- entries with one key the lowest rank stays, of those the lowest value.
CREATE OR REPLACE MACRO aws_cur_json_object(entries) AS
    CAST(
        to_json(
            map_from_entries(
                list_transform(
                    list_filter(
                        list_sort(entries),
                        lambda entry, position:
                            position = list_position(list_transform(list_sort(entries), lambda other: other.key), entry.key)
                    ),
                    lambda entry: {'key': entry.key, 'value': entry.value}
                )
            )
        )
        AS VARCHAR
    );
