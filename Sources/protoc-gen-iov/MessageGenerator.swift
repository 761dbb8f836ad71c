/// Writes the Swift face of one message: the struct, its JSON, and its way to and from protoc-c's struct.
struct MessageGenerator {
  /// A field with all that is known of it.
  struct Field {
    var descriptor: FieldDescriptor
    var shape: FieldShape
    var name: String
    var isHeldByReference: Bool
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

  init(_ message: MessageDescriptor, scope: String, types: TypeTable) throws {
    self.message = message
    self.types = types
    fullName = join(scope, message.name)
    swiftType = try types.swiftName(of: fullName)
    try types.refuseRecursion(in: fullName)
    let fields = try message.fields.map { field in
      Field(
        descriptor: field, shape: try types.shape(of: field), name: swiftName(lowerCamelCase(field.name)),
        isHeldByReference: try types.isHeldByReference(field))
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
      try writeProperties(&source)
      source.line()
      source.line("public init() {}")
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

  private func writeProperties(_ source: inout SourceText) throws {
    source.line("public static var fullName: String { \"\(fullName)\" }")
    source.line()
    var written: Set<Int> = []
    for field in fields {
      if let index = field.descriptor.oneofIndex {
        guard written.insert(index).inserted else { continue }
        source.documentation(oneofs[index].descriptor.documentation)
        source.line("public var \(oneofs[index].name): \(oneofs[index].typeName)?")
        continue
      }
      source.documentation(field.descriptor.documentation)
      let wrapper = field.isHeldByReference ? "@HeldByReference " : ""
      source.line("\(wrapper)public var \(field.name): \(propertyType(field.shape))\(initialValue(field.shape))")
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
