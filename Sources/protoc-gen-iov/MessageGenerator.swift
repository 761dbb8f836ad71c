/// Writes the Swift face of one message: the struct, its JSON, and its way to and from protoc-c's struct.
struct MessageGenerator {
  /// A field with all that is known of it.
  struct Field {
    var descriptor: FieldDescriptor
    var shape: FieldShape
    var name: String
  }

  /// A oneof and its fields, in the order of the .proto.
  struct Oneof {
    var descriptor: OneofDescriptor
    var fields: [Field]
    var name: String { swiftName(lowerCamelCase(descriptor.name)) }
    var typeName: String { upperFirst(lowerCamelCase(descriptor.name)) }
  }

  let message: MessageDescriptor
  let fullName: String
  let swiftType: String
  let types: TypeTable
  let fields: [Field]
  let oneofs: [Oneof]
  let sharesFields: Bool

  init(_ message: MessageDescriptor, scope: String, types: TypeTable) throws {
    self.message = message
    self.types = types
    fullName = join(scope, message.name)
    swiftType = try types.swiftName(of: fullName)
    try types.refuseRecursion(in: fullName)
    sharesFields = try types.sharesFields(fullName)
    let fields = try message.fields.map { field in
      Field(
        descriptor: field, shape: try types.shape(of: field), name: swiftName(lowerCamelCase(field.name)))
    }
    self.fields = fields
    oneofs = message.oneofs.indices.map { index in
      Oneof(descriptor: message.oneofs[index], fields: fields.filter { $0.descriptor.oneofIndex == index })
    }
  }

  /// The fields that are properties of their own.
  var plainFields: [Field] { fields.filter { $0.descriptor.oneofIndex == nil } }

  /// The struct with the types that it declares.
  func writeType(_ source: inout SourceText) throws {
    source.documentation(message.documentation)
    try source.block("public struct \(message.name): Message") { source in
      writeProperties(&source)
      for oneof in oneofs { writeOneofType(oneof, &source) }
      for enumeration in message.enums {
        source.line()
        EnumGenerator(enumeration).write(&source)
      }
      for nested in message.messages where !nested.isMapEntry {
        source.line()
        try MessageGenerator(nested, scope: fullName, types: types).writeType(&source)
      }
    }
  }

  /// The extensions, which stand at the top level of the file, also for nested messages.
  func writeExtensions(_ source: inout SourceText) throws {
    source.line()
    writeLayout(&source)
    source.line()
    writeJSON(&source)
    for nested in message.messages where !nested.isMapEntry {
      try MessageGenerator(nested, scope: fullName, types: types).writeExtensions(&source)
    }
  }

  /// A property: of a field, or of a oneof.
  private struct Property {
    var name: String
    var type: String
    var initial: String
    var documentation: [String]
  }

  /// In the order of the .proto; a oneof stands where its first field does.
  private var properties: [Property] {
    var written: Set<Int> = []
    return fields.compactMap { field in
      guard let index = field.descriptor.oneofIndex else {
        return Property(
          name: field.name, type: propertyType(field.shape), initial: initialValue(field.shape),
          documentation: field.descriptor.documentation)
      }
      guard written.insert(index).inserted else { return nil }
      let oneof = oneofs[index]
      return Property(
        name: oneof.name, type: "\(oneof.typeName)?", initial: "", documentation: oneof.descriptor.documentation)
    }
  }

  private func writeProperties(_ source: inout SourceText) {
    source.line("public static var fullName: String { \"\(fullName)\" }")
    source.line()
    guard sharesFields else {
      for property in properties {
        source.documentation(property.documentation)
        source.line("public var \(property.name): \(property.type)\(property.initial)")
      }
      source.line()
      source.line("public init() {}")
      return
    }
    source.line("@usableFromInline var sharedFields: SharedFields<Fields>")
    for property in properties {
      source.line()
      source.documentation(property.documentation)
      source.block("public var \(property.name): \(property.type)") {
        $0.line("@inlinable get { sharedFields.value.\(property.name) }")
        $0.line("@inlinable _modify { yield &sharedFields.value.\(property.name) }")
      }
    }
    source.line()
    source.line("public init() { sharedFields = Self.unset }")
    source.line()
    source.line("// It is given fields at once, so that those of all that have none need not be copied.")
    source.block("public init(_ build: (inout Self) throws -> Void) rethrows") {
      $0.line("sharedFields = SharedFields(Fields())")
      $0.line("try build(&self)")
    }
    source.line()
    source.line("private static let unset = SharedFields(Fields())")
    source.line()
    source.block("@usableFromInline struct Fields: Sendable, Hashable") { source in
      for property in properties {
        source.line("@usableFromInline var \(property.name): \(property.type)\(property.initial)")
      }
    }
  }

  private func writeOneofType(_ oneof: Oneof, _ source: inout SourceText) {
    source.line()
    source.block("public enum \(oneof.typeName): Sendable, Hashable") { source in
      for field in oneof.fields {
        source.documentation(field.descriptor.documentation)
        source.line("case \(field.name)(\(valueType(field.shape)))")
      }
    }
  }

  /// The type of the value when it is there.
  private func valueType(_ shape: FieldShape) -> String {
    switch shape {
    case .scalar(let scalar), .wrapper(let scalar): scalar.swift
    case .enumeration(let name), .message(let name): name
    case .timestamp: "Timestamp"
    case .list(let element): "[\(valueType(element))]"
    case .map(let key, let value, _): "[\(key.swift): \(valueType(value))]"
    }
  }

  private func propertyType(_ shape: FieldShape) -> String {
    switch shape {
    case .scalar, .enumeration, .list, .map: valueType(shape)
    case .message, .wrapper, .timestamp: valueType(shape) + "?"
    }
  }

  private func initialValue(_ shape: FieldShape) -> String {
    switch shape {
    case .scalar(let scalar): " = \(scalar.initial)"
    case .enumeration(let name): " = \(name)(rawValue: 0)"
    case .list: " = []"
    case .map: " = [:]"
    case .message, .wrapper, .timestamp: ""
    }
  }
}
