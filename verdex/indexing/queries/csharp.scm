(class_declaration name: (_) @name) @class
(struct_declaration name: (_) @name) @struct
(record_declaration name: (_) @name) @record
(interface_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(namespace_declaration name: (_) @name) @namespace
(delegate_declaration name: (_) @name) @type
[
  (method_declaration name: (_) @name)
  (constructor_declaration name: (_) @name)
  (destructor_declaration name: (_) @name)
  (local_function_statement name: (_) @name)
] @method
(operator_declaration) @method
[
  (property_declaration name: (_) @name)
  (event_declaration name: (_) @name)
] @property
(indexer_declaration) @property

(comment) @lead
