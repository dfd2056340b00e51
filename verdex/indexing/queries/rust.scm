(function_item name: (_) @name) @function
(struct_item name: (_) @name) @struct
(enum_item name: (_) @name) @enum
(union_item name: (_) @name) @union
(trait_item name: (_) @name) @trait
(type_item name: (_) @name) @type
(mod_item name: (_) @name body: (_)) @module
(macro_definition name: (_) @name) @macro
(impl_item
  type: [
    (type_identifier) @name
    (generic_type type: (_) @name)
    (scoped_type_identifier) @name
    (primitive_type) @name
    (reference_type type: (_) @name)
    (dynamic_type) @name
    (tuple_type) @name
    (array_type) @name
    (pointer_type) @name
  ]) @impl

[(line_comment) (block_comment) (attribute_item)] @lead
