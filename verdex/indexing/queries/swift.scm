(class_declaration "class" name: (_) @name) @class
(class_declaration "actor" name: (_) @name) @class
(class_declaration "struct" name: (_) @name) @struct
(class_declaration "enum" name: (_) @name) @enum
(class_declaration "extension" name: (_) @name) @extension
(protocol_declaration name: (_) @name) @protocol
(function_declaration name: (_) @name) @function
(init_declaration "init" @name) @method
(deinit_declaration "deinit" @name) @method
(subscript_declaration "subscript" @name) @method
(property_declaration
  name: (pattern bound_identifier: (_) @name) computed_value: (computed_property)) @property

[(comment) (multiline_comment)] @lead
