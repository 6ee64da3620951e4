-- azure_cost_resource_type(resource_id): the type in an Azure resource id, lower case: that of
-- /subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/a/databases/b is microsoft.sql/servers/databases.
-- NULL for an id without a provider.
CREATE OR REPLACE MACRO azure_cost_resource_type(resource_id) AS
    nullif(regexp_extract(lower(resource_id), '^.*/providers/([^/]+)/.*$', 1), '')
    || '/'
    || rtrim(
        regexp_replace(
            regexp_extract(lower(resource_id), '^.*/providers/[^/]+/(.*)$', 1), '([^/]+)(/[^/]*)?(/|$)', '\1/', 'g'
        ),
        '/'
    );
