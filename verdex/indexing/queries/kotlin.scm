(class_declaration "class" name: (_) @name) @class
(class_declaration "interface" name: (_) @name) @interface
(object_declaration name: (_) @name) @object
(companion_object name: (_)? @name) @object
(function_declaration name: (_) @name) @function
(secondary_constructor) @method
(property_declaration (variable_declaration (identifier) @name) [(getter) (setter)]) @property

[(line_comment) (block_comment)] @lead
