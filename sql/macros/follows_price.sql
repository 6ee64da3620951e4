-- follows_price(cost, price, quantity): whether a cost is its unit price times its quantity, but for what rounding printed
-- prices and costs makes: a millionth of a currency unit and a millionth of the cost. True where one of the three is NULL.
--
-- Fast path: doubles say which products are anywhere near that; only those are multiplied exactly.
CREATE OR REPLACE MACRO follows_price(cost, price, quantity) AS
    CASE
        WHEN
            abs(CAST(price AS DOUBLE) * CAST(quantity AS DOUBLE) - CAST(cost AS DOUBLE))
            > 0.0000005 + 0.0000005 * abs(CAST(cost AS DOUBLE))
            THEN
                abs(exact_product(price, quantity) - cost)
                <= 0.000001 + CAST(abs(CAST(cost AS DECIMAL(38, 12))) * 0.000001 AS DECIMAL(38, 18))
        ELSE true
    END;
