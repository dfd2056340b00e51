(module_definition name: (_) @name) @module
(struct_definition
  (type_head [
    (identifier) @name
    (parametrized_type_expression . (_) @name)
    (binary_expression . (identifier) @name)
    (binary_expression . (parametrized_type_expression . (_) @name))
  ])) @struct
(abstract_definition (type_head . (_) @name)) @type
(macro_definition (signature (call_expression . (_) @name))) @macro
(function_definition
  (signature [
    (call_expression . (_) @name)
    (typed_expression . (call_expression . (_) @name))
    (where_expression . (call_expression . (_) @name))
    (where_expression . (typed_expression . (call_expression . (_) @name)))
  ])) @function
; f(x) = …
(assignment . [
  (call_expression . (_) @name)
  (typed_expression . (call_expression . (_) @name))
  (where_expression . (call_expression . (_) @name))
]) @function

[(line_comment) (block_comment)] @lead
(source_file (string_literal) @lead)
(module_definition (string_literal) @lead)
