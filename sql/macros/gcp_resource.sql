-- gcp_resource_id(global_name, name, project_id): what a line was billed for, as Cloud Asset Inventory names it. A
-- virtual machine is named by its name, as Kubernetes does (gce://project/zone/name), where the export's global name
-- has its number.
CREATE OR REPLACE MACRO gcp_resource_id(global_name, name, project_id) AS
    CASE
        WHEN name <> '' AND NOT contains(name, '/')
            AND regexp_full_match(global_name, '//compute\.googleapis\.com/projects/[^/]+/zones/[^/]+/instances/\d+')
            THEN
                '//compute.googleapis.com/projects/' || coalesce(project_id, split_part(global_name, '/', 5))
                || '/zones/' || split_part(global_name, '/', 7) || '/instances/' || name
        ELSE coalesce(global_name, name)
    END;

-- gcp_resource_type(resource_id): what kind of thing a resource id names: the collection it is in, instances for a
-- virtual machine. NULL without a resource.
CREATE OR REPLACE MACRO gcp_resource_type(resource_id) AS
    CASE
        WHEN resource_id IS NULL THEN NULL
        WHEN contains(resource_id, '/')
            THEN coalesce(nullif(regexp_extract(resource_id, '([^/]+)/[^/]*$', 1), ''), 'resource')
        ELSE 'resource'
    END;
