(class_definition name: (_) @name) @class
(object_definition name: (_) @name) @object
(package_object name: (_) @name) @object
(trait_definition name: (_) @name) @trait
(enum_definition name: (_) @name) @enum
(package_clause name: (_) @name body: (_)) @namespace
(function_definition name: (_) @name) @function
(given_definition name: (_)? @name) @given
(extension_definition) @extension

[(comment) (block_comment)] @lead
