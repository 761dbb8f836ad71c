/// A construct of protobuf that the generator does not translate, as protoc shows it.
struct Unsupported: Error {
  var message: String
  init(_ message: String) { self.message = message }
}

/// `end_node` → `endNode`: the rule of protobuf's JSON names.
func lowerCamelCase(_ name: String) -> String {
  var result = ""
  var raise = false
  for character in name {
    if character == "_" {
      raise = true
    } else {
      result += raise ? character.uppercased() : String(character)
      raise = false
    }
  }
  return result
}

/// `CreateClaim` → `createClaim`.
func lowerFirst(_ name: String) -> String { name.prefix(1).lowercased() + name.dropFirst() }

/// `kind` → `Kind`.
func upperFirst(_ name: String) -> String { name.prefix(1).uppercased() + name.dropFirst() }

/// `PATH_DIRECT_SOFTWARE` of the enum `Path` → `directSoftware`.
func enumCaseName(_ value: String, of enumeration: String) -> String {
  let prefix = snakeCase(enumeration).uppercased() + "_"
  let rest = value.hasPrefix(prefix) ? String(value.dropFirst(prefix.count)) : value
  // A bare number cannot be a name in Swift.
  if rest.first?.isNumber == true { return lowerCamelCase(value.lowercased()) }
  return lowerCamelCase(rest.lowercased())
}

/// `ClaimPhase` → `claim_phase`: protoc-c's rule for the names of functions.
func snakeCase(_ name: String) -> String {
  var result = ""
  var wasUpper = true
  for character in name {
    if character.isUppercase && !wasUpper { result += "_" }
    wasUpper = character.isUppercase
    result += character.lowercased()
  }
  return result
}

/// `iov.v1.Claim` → `Iov__V1__Claim`: what protoc-c calls the struct.
func cTypeName(_ fullName: String) -> String {
  fullName.split(separator: ".").map { upperFirst(lowerCamelCase(String($0))) }.joined(separator: "__")
}

/// `iov.v1.Claim` → `iov__v1__claim`: what protoc-c's functions begin with.
func cFunctionPrefix(_ fullName: String) -> String {
  fullName.split(separator: ".").map { snakeCase(String($0)) }.joined(separator: "__")
}

/// The member of protoc-c's struct: it appends an underscore to what is a keyword in C or C++.
func cMemberName(_ field: String) -> String {
  let name = field.lowercased()
  return cKeywords.contains(name) ? name + "_" : name
}

/// A property or case that is a keyword of Swift, in backticks.
func swiftName(_ name: String) -> String { swiftKeywords.contains(name) ? "`\(name)`" : name }

private let swiftKeywords: Set<String> = [
  "associatedtype", "class", "deinit", "enum", "extension", "fileprivate", "func", "import", "init", "inout",
  "internal", "let", "operator", "private", "protocol", "public", "rethrows", "static", "struct", "subscript",
  "typealias", "var", "break", "case", "continue", "default", "defer", "do", "else", "fallthrough", "for", "guard",
  "if", "in", "repeat", "return", "switch", "where", "while", "as", "catch", "false", "is", "nil", "super", "self",
  "throw", "throws", "true", "try", "Type", "Self", "Any",
]

private let cKeywords: Set<String> = [
  "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "class", "compl",
  "const", "const_cast", "continue", "default", "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit",
  "extern", "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new",
  "not", "not_eq", "operator", "or", "or_eq", "private", "protected", "public", "register", "reinterpret_cast",
  "return", "short", "signed", "sizeof", "static", "static_cast", "struct", "switch", "template", "this", "throw",
  "true", "try", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void", "volatile",
  "wchar_t", "while", "xor", "xor_eq", "assert",
]
