-- azure_cost_sku_price_details(...): FOCUS SkuPriceDetails of an Azure article: JSON text, keys in byte order, only what is
-- known; NULL when nothing is. Numbers stand bare: cores, GPUs, gigabytes of memory.
CREATE OR REPLACE MACRO azure_cost_sku_price_details(
    core_count, disk_type, gpu_count, instance_series, instance_type, memory_size, operating_system, storage_class
) AS
    '{' || nullif(
        concat_ws(
            ',',
            '"CoreCount":' || CASE WHEN regexp_full_match(core_count, '[1-9]\d*') THEN core_count END,
            '"DiskType":' || CAST(to_json(disk_type) AS VARCHAR),
            '"GpuCount":' || CASE WHEN regexp_full_match(gpu_count, '\d+') THEN gpu_count END,
            '"InstanceSeries":' || CAST(to_json(instance_series) AS VARCHAR),
            '"InstanceType":' || CAST(to_json(instance_type) AS VARCHAR),
            '"MemorySize":' || CASE WHEN regexp_full_match(memory_size, '\d+(\.\d+)?') THEN memory_size END,
            '"OperatingSystem":' || CAST(to_json(operating_system) AS VARCHAR),
            '"StorageClass":' || CAST(to_json(storage_class) AS VARCHAR)
        ),
        ''
    ) || '}';
