-- gcp_gpu_model(sku_description): our name of the accelerator whose use an article charges; NULL for other articles.
CREATE OR REPLACE MACRO gcp_gpu_model(sku_description) AS
    CASE
        WHEN sku_description IS NULL OR starts_with(sku_description, 'Commitment') THEN NULL
        WHEN NOT regexp_matches(sku_description, '(?i)\b(gpu|nvidia)\b') THEN NULL
        WHEN contains(sku_description, 'GB200') THEN 'NVIDIA GB200'
        WHEN contains(sku_description, 'B200') THEN 'NVIDIA B200'
        WHEN contains(sku_description, 'H200') THEN 'NVIDIA H200'
        WHEN contains(sku_description, 'H100') THEN 'NVIDIA H100 80GB'
        WHEN contains(sku_description, 'A100') AND contains(sku_description, '80GB') THEN 'NVIDIA A100 80GB'
        WHEN contains(sku_description, 'A100') THEN 'NVIDIA A100 40GB'
        WHEN regexp_matches(sku_description, 'RTX (PRO )?6000') THEN 'NVIDIA RTX PRO 6000'
        WHEN contains(sku_description, 'V100') THEN 'NVIDIA V100 16GB'
        WHEN contains(sku_description, 'P100') THEN 'NVIDIA P100'
        WHEN contains(sku_description, 'K80') THEN 'NVIDIA K80'
        WHEN regexp_matches(sku_description, '\bL4\b') THEN 'NVIDIA L4'
        WHEN regexp_matches(sku_description, '\bT4\b') THEN 'NVIDIA T4'
        WHEN regexp_matches(sku_description, '\bP4\b') THEN 'NVIDIA P4'
    END;

-- gcp_storage_class(sku_description): the class of Cloud Storage that an article charges, as the console prints it.
CREATE OR REPLACE MACRO gcp_storage_class(sku_description) AS
    nullif(regexp_extract(sku_description, '^(Standard|Nearline|Coldline|Archive) Storage\b', 1), '');

-- gcp_disk_type(sku_description): the medium of the disk that an article charges.
CREATE OR REPLACE MACRO gcp_disk_type(sku_description) AS
    CASE
        WHEN regexp_matches(
            sku_description, '\b(SSD backed|Balanced|Extreme) PD Capacity|Hyperdisk|SSD backed Local Storage'
        ) THEN 'SSD'
        WHEN contains(sku_description, 'Storage PD Capacity') THEN 'HDD'
    END;

-- gcp_operating_system(sku_description): the system whose licence an article charges.
CREATE OR REPLACE MACRO gcp_operating_system(sku_description) AS
    nullif(
        regexp_extract(
            sku_description, 'Licensing Fee for.*?(Windows|Red Hat Enterprise Linux|RHEL|SUSE|SLES|Ubuntu Pro)', 1
        ),
        ''
    );

-- gcp_sku_price_details(...): FOCUS SkuPriceDetails of an article: JSON text, keys in byte order, only what is known;
-- NULL when nothing is. Numbers stand bare: cores, GPUs, gigabytes of memory (the label counts megabytes).
CREATE OR REPLACE MACRO gcp_sku_price_details(
    core_count, disk_type, gpu_count, instance_series, instance_type, memory_megabytes, memory_gib, operating_system,
    storage_class
) AS
    '{' || nullif(
        concat_ws(
            ',',
            '"CoreCount":' || CASE WHEN regexp_full_match(core_count, '\d+(\.\d+)?') THEN core_count END,
            '"DiskType":' || CAST(to_json(disk_type) AS VARCHAR),
            '"GpuCount":' || CASE WHEN regexp_full_match(gpu_count, '\d+') THEN gpu_count END,
            '"InstanceSeries":' || CAST(to_json(instance_series) AS VARCHAR),
            '"InstanceType":' || CAST(to_json(instance_type) AS VARCHAR),
            '"MemorySize":' || CASE
                WHEN regexp_full_match(memory_megabytes, '\d{1,12}')
                    THEN decimal_text(CAST(CAST(memory_megabytes AS BIGINT) * 9765625 AS DECIMAL(38,0)) * 0.0000000001)
                WHEN regexp_full_match(memory_gib, '\d+(\.\d+)?') THEN memory_gib
            END,
            '"OperatingSystem":' || CAST(to_json(operating_system) AS VARCHAR),
            '"StorageClass":' || CAST(to_json(storage_class) AS VARCHAR)
        ),
        ''
    ) || '}';

-- gcp_unit_price(price, quantity): the price of one unit of a price for several; NULL below zero and for fractions of a
-- unit.
CREATE OR REPLACE MACRO gcp_unit_price(price, quantity) AS
    CASE
        WHEN price IS NULL OR price < 0 THEN NULL
        WHEN coalesce(quantity, 1) = 1 THEN price
        WHEN quantity > 1 AND fraction_units(quantity) = 0
            THEN number_of_units(
                (2 * exact_units(price) + CAST(quantity AS HUGEINT)) // (2 * CAST(quantity AS HUGEINT))
            )
    END;
