(function_declaration name: (identifier) @name) @function
(method_declaration
  receiver: (parameter_list
    (parameter_declaration
      type: [
        (type_identifier) @scope
        (generic_type type: (type_identifier) @scope)
        (pointer_type [
          (type_identifier) @scope
          (generic_type type: (type_identifier) @scope)
        ])
      ]))
  name: (field_identifier) @name) @method
(type_spec name: (_) @name type: (struct_type)) @struct
(type_spec name: (_) @name type: (interface_type)) @interface
(type_spec
  name: (_) @name
  type: [
    (array_type) (channel_type) (function_type) (generic_type) (map_type)
    (pointer_type) (qualified_type) (slice_type) (type_identifier)
  ]) @type

(comment) @lead
