(rule_set (selectors) @name) @rule
(media_statement) @rule
(supports_statement) @rule
(keyframes_statement (keyframes_name) @name) @rule
(at_rule) @rule

(comment) @lead
