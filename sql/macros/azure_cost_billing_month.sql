-- azure_cost_billing_month(...): the first of the calendar month that a line of an Azure export is billed in. Billing periods
-- of enterprise and customer agreements are calendar months. Where the export names none, or one that begins within a month
-- (pay-as-you-go), the month of the charge stands.
CREATE OR REPLACE MACRO azure_cost_billing_month(billing_period_start, charge_date) AS
    CAST(date_trunc('month', CASE WHEN day(billing_period_start) = 1 THEN billing_period_start ELSE charge_date END) AS TIMESTAMP);
