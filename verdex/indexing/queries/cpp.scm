(function_definition
  declarator: (function_declarator
    declarator: [(identifier) (field_identifier) (operator_name) (destructor_name)] @name)) @function
(function_definition
  declarator: (_
    (function_declarator
      declarator: [(identifier) (field_identifier) (operator_name)] @name))) @function
; a member defined outside of its class: void Parser::feed() {}
(function_definition declarator: (function_declarator declarator: (qualified_identifier) @name)) @method
(function_definition declarator: (_ (function_declarator declarator: (qualified_identifier) @name))) @method

(class_specifier name: (_) @name body: (_)) @class
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @union
(enum_specifier name: (_) @name body: (_)) @enum
(namespace_definition name: (_)? @name) @namespace
(concept_definition name: (_) @name) @concept
(type_definition type: (struct_specifier body: (_)) declarator: (type_identifier) @name) @struct
(type_definition type: (union_specifier body: (_)) declarator: (type_identifier) @name) @union
(type_definition type: (enum_specifier body: (_)) declarator: (type_identifier) @name) @enum
(preproc_function_def name: (_) @name) @macro

[(comment) (access_specifier) "#ifdef" "#ifndef" "#if"] @lead
(template_declaration "template" @lead parameters: (_) @lead)
