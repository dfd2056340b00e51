[
  (function_declaration name: (identifier) @name)
  (generator_function_declaration name: (identifier) @name)
] @function
(method_definition name: (_) @name) @method
[
  (class_declaration name: (_) @name)
  (abstract_class_declaration name: (_) @name)
] @class
(interface_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(type_alias_declaration name: (_) @name) @type
[
  (internal_module name: (_) @name)
  (module name: (_) @name)
] @namespace
(function_signature name: (_) @name) @function

; const f = () => {}, var C = class {}
(lexical_declaration
  (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)])) @function
(variable_declaration
  (variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)])) @function
(lexical_declaration (variable_declarator name: (identifier) @name value: (class))) @class
(variable_declaration (variable_declarator name: (identifier) @name value: (class))) @class

; exports.f = function () {}, C.prototype.m = () => {}
(expression_statement
  (assignment_expression left: (member_expression) @name right: [(arrow_function) (function_expression)])) @function

; { key: function () {} }, class { key = () => {} }
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @method
(public_field_definition name: (_) @name value: [(arrow_function) (function_expression)]) @method

[(comment) (decorator)] @lead
