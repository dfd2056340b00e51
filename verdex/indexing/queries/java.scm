(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(annotation_type_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(record_declaration name: (_) @name) @record
[
  (method_declaration name: (_) @name)
  (constructor_declaration name: (_) @name)
  (compact_constructor_declaration name: (_) @name)
] @method

[(line_comment) (block_comment)] @lead
