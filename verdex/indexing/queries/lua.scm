(function_declaration name: [(identifier) (dot_index_expression)] @name) @function
(function_declaration
  name: (method_index_expression table: (_) @scope method: (_) @name)) @method
(variable_declaration
  (assignment_statement (variable_list (identifier) @name) (expression_list (function_definition)))) @function
(assignment_statement
  (variable_list (dot_index_expression) @name)
  (expression_list (function_definition))) @function
(field name: (identifier) @name value: (function_definition)) @function

(comment) @lead
