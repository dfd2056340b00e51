(module name: (_) @name) @module
(class name: (_) @name) @class
(singleton_class) @class
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function

(comment) @lead
