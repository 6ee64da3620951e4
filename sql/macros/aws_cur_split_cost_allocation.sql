-- aws_cur_split_cost_allocation(...): what AWS says of a container's share of its parent (an instance, a Fargate task) as the
-- text of one flat JSON object, keys in byte order, amounts bare; NULL for a line that is no share.
CREATE OR REPLACE MACRO aws_cur_split_cost_allocation(
    actual_usage, net_split_cost, net_unused_cost, parent_resource_id, public_on_demand_split_cost,
    public_on_demand_unused_cost, reserved_usage, split_cost, split_usage, split_usage_ratio, unused_cost
) AS
    CASE
        WHEN parent_resource_id IS NOT NULL OR split_usage_ratio IS NOT NULL OR split_cost IS NOT NULL THEN
            '{' || concat_ws(
                ',',
                '"ActualUsage":' || aws_cur_plain_number(actual_usage),
                '"NetSplitCost":' || aws_cur_plain_number(net_split_cost),
                '"NetUnusedCost":' || aws_cur_plain_number(net_unused_cost),
                '"ParentResourceId":' || CAST(to_json(parent_resource_id) AS VARCHAR),
                '"PublicOnDemandSplitCost":' || aws_cur_plain_number(public_on_demand_split_cost),
                '"PublicOnDemandUnusedCost":' || aws_cur_plain_number(public_on_demand_unused_cost),
                '"ReservedUsage":' || aws_cur_plain_number(reserved_usage),
                '"SplitCost":' || aws_cur_plain_number(split_cost),
                '"SplitUsage":' || aws_cur_plain_number(split_usage),
                '"SplitUsageRatio":' || aws_cur_plain_number(split_usage_ratio),
                '"UnusedCost":' || aws_cur_plain_number(unused_cost)
            ) || '}'
    END;
