-- account_key(id): an account's id as two exports of one bill have it in common. Microsoft's FOCUS export writes
-- /providers/Microsoft.Billing/billingAccounts/12345678 where its other exports write 12345678; spreadsheets lose the leading
-- zeros of AWS account ids.
CREATE OR REPLACE MACRO account_key(id) AS
    coalesce(nullif(ltrim(lower(regexp_extract(id, '[^/]*$')), '0'), ''), lower(id));

-- provider_key(name): a provider's name as two exports of one bill have it in common.
CREATE OR REPLACE MACRO provider_key(name) AS
    CASE
        WHEN lower(name) LIKE 'aws%' OR lower(name) LIKE 'amazon%' THEN 'aws'
        WHEN lower(name) LIKE 'google%' OR lower(name) = 'gcp' THEN 'google cloud'
        WHEN lower(name) LIKE 'microsoft%' OR lower(name) LIKE 'azure%' THEN 'microsoft'
        ELSE lower(name)
    END;
