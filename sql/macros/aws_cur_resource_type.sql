-- aws_cur_resource_type(...): what kind of thing a CUR resource id names: the type in an ARN, the prefix of a bare EC2 id,
-- else the product family. NULL without a resource.
CREATE OR REPLACE MACRO aws_cur_resource_type(resource_id, product_code, product_family) AS
    CASE
        WHEN resource_id IS NULL THEN NULL
        WHEN starts_with(resource_id, 'i-') THEN 'instance'
        WHEN starts_with(resource_id, 'vol-') THEN 'volume'
        WHEN starts_with(resource_id, 'arn:') THEN
            CASE
                WHEN contains(split_part(resource_id, ':', 6), '/')
                    THEN split_part(split_part(resource_id, ':', 6), '/', 1)
                WHEN split_part(resource_id, ':', 7) <> '' THEN split_part(resource_id, ':', 6)
                ELSE split_part(resource_id, ':', 3)
            END
        WHEN starts_with(resource_id, 'snap-') THEN 'snapshot'
        WHEN starts_with(resource_id, 'nat-') THEN 'natgateway'
        WHEN starts_with(resource_id, 'eni-') THEN 'network-interface'
        WHEN starts_with(resource_id, 'vpce-') THEN 'vpc-endpoint'
        WHEN product_code = 'AmazonS3' THEN 'bucket'
        ELSE lower(coalesce(product_family, product_code, 'resource'))
    END;
