-- focus_text(text): text of a FOCUS file, NULL where it says so: empty, or the word NULL in the two cases that exports print.
CREATE OR REPLACE MACRO focus_text(text) AS nullif(nullif(nullif(text, ''), 'NULL'), 'null');
