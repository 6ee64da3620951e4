-- aws_cur_plain_number(amount): a DECIMAL(38,18) as plain digits, without trailing zeros: a JSON number that is exact.
CREATE OR REPLACE MACRO aws_cur_plain_number(amount) AS
    rtrim(rtrim(CAST(amount AS VARCHAR), '0'), '.');
