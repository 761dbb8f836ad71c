/// How a field looks in Swift.
enum FieldShape {
  case scalar(ScalarShape)
  case enumeration(String)
  case message(String)
  /// A google.protobuf wrapper: an optional scalar.
  case wrapper(ScalarShape)
  case timestamp
  indirect case list(FieldShape)
  indirect case map(key: ScalarShape, value: FieldShape, entry: String)
}

/// A scalar: its type in Swift, its default, its type in protoc-c's struct.
struct ScalarShape {
  var swift: String
  var initial: String
  var c: String

  init?(_ type: FieldType) {
    switch type {
    case .double: self.init("Double", "0", "Double")
    case .float: self.init("Float", "0", "Float")
    case .int64, .sint64, .sfixed64: self.init("Int64", "0", "Int64")
    case .uint64, .fixed64: self.init("UInt64", "0", "UInt64")
    case .int32, .sint32, .sfixed32: self.init("Int32", "0", "Int32")
    case .uint32, .fixed32: self.init("UInt32", "0", "UInt32")
    case .bool: self.init("Bool", "false", "protobuf_c_boolean")
    case .string: self.init("String", "\"\"", "UnsafeMutablePointer<CChar>?")
    case .bytes: self.init("[UInt8]", "[]", "ProtobufCBinaryData")
    case .message, .enumeration: return nil
    }
  }

  private init(_ swift: String, _ initial: String, _ c: String) {
    self.swift = swift
    self.initial = initial
    self.c = c
  }
}

/// All types that the files of a request declare, by full name.
struct TypeTable {
  private var messages: [String: MessageDescriptor] = [:]
  private var enums: Set<String> = []
  private var swiftNames: [String: String] = [:]

  init(_ files: [FileDescriptor]) {
    for file in files {
      for message in file.messages { add(message, scope: file.package, swiftScope: "") }
      for enumeration in file.enums { add(enumeration, scope: file.package, swiftScope: "") }
    }
  }

  private mutating func add(_ message: MessageDescriptor, scope: String, swiftScope: String) {
    let fullName = join(scope, message.name)
    let swift = join(swiftScope, message.name)
    messages[fullName] = message
    swiftNames[fullName] = swift
    for nested in message.messages { add(nested, scope: fullName, swiftScope: swift) }
    for nested in message.enums { add(nested, scope: fullName, swiftScope: swift) }
  }

  private mutating func add(_ enumeration: EnumDescriptor, scope: String, swiftScope: String) {
    let fullName = join(scope, enumeration.name)
    enums.insert(fullName)
    swiftNames[fullName] = join(swiftScope, enumeration.name)
  }

  func swiftName(of fullName: String) throws -> String {
    guard let name = swiftNames[fullName] else { throw Unsupported("unknown type \(fullName)") }
    return name
  }

  func shape(of field: FieldDescriptor) throws -> FieldShape {
    if field.isProto3Optional {
      throw Unsupported("field \(field.name) is optional, which protobuf-c refuses; use a google.protobuf wrapper")
    }
    let element = try elementShape(of: field)
    guard field.isRepeated else { return element }
    if case .message = element, let entry = messages[field.typeName], entry.isMapEntry {
      guard let key = ScalarShape(entry.fields[0].type), entry.fields[0].type != .bool else {
        throw Unsupported("field \(field.name) is a map by Bool, which has no order")
      }
      return .map(key: key, value: try elementShape(of: entry.fields[1]), entry: field.typeName)
    }
    return .list(element)
  }

  private func elementShape(of field: FieldDescriptor) throws -> FieldShape {
    if let scalar = ScalarShape(field.type) { return .scalar(scalar) }
    if field.type == .enumeration { return .enumeration(try swiftName(of: field.typeName)) }
    if field.typeName == "google.protobuf.Timestamp" { return .timestamp }
    if let scalar = wrapped(field.typeName) {
      if field.isRepeated { throw Unsupported("field \(field.name) repeats a wrapper") }
      return .wrapper(scalar)
    }
    if field.typeName.hasPrefix("google.protobuf.") { throw Unsupported(field.typeName) }
    return .message(try swiftName(of: field.typeName))
  }

  private func wrapped(_ typeName: String) -> ScalarShape? {
    guard typeName.hasPrefix("google.protobuf."), typeName.hasSuffix("Value"),
      let wrapper = messages[typeName], wrapper.fields.count == 1
    else { return nil }
    return ScalarShape(wrapper.fields[0].type)
  }

  /// Whether copies of a message share its fields: of one with more than a few, so that a copy, also of what it is nested in, does not
  /// retain every string in it.
  func sharesFields(_ fullName: String) throws -> Bool {
    guard let message = messages[fullName] else { return false }
    return try message.fields.reduce(0) { try $0 + inlineSize(of: $1) } > 3
  }

  /// How many values lie in line in the struct of whoever has the field.
  private func inlineSize(of field: FieldDescriptor) throws -> Int {
    guard case .message = try shape(of: field), let message = messages[field.typeName],
      try !sharesFields(field.typeName)
    else { return 1 }
    return try message.fields.reduce(0) { try $0 + inlineSize(of: $1) }
  }

  /// protobuf-c follows the nesting of a message with its own stack, so a type that can contain itself is refused.
  func refuseRecursion(in fullName: String, path: [String] = []) throws {
    if path.contains(fullName) {
      throw Unsupported("\(fullName) contains itself: " + (path + [fullName]).joined(separator: " → "))
    }
    for field in messages[fullName]?.fields ?? [] where field.type == .message {
      try refuseRecursion(in: field.typeName, path: path + [fullName])
    }
  }
}

func join(_ scope: String, _ name: String) -> String { scope.isEmpty ? name : scope + "." + name }
