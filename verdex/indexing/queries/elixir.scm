((call
  target: (identifier) @keyword
  (arguments . (alias) @name)
  (do_block)) @module
  (#any-of? @keyword "defmodule" "defprotocol" "defimpl"))
((call
  target: (identifier) @keyword
  (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: (call target: (identifier) @name) operator: "when")
    (binary_operator left: (identifier) @name operator: "when")
  ])) @function
  (#any-of? @keyword "def" "defp" "defguard" "defguardp" "defdelegate"))
((call
  target: (identifier) @keyword
  (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: (call target: (identifier) @name) operator: "when")
  ])) @macro
  (#any-of? @keyword "defmacro" "defmacrop"))

; @doc, @spec, @impl
[(comment) (unary_operator "@")] @lead
