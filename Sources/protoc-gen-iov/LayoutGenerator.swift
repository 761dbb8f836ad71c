// The way between a message's Swift face and protoc-c's struct.

extension MessageGenerator {
  private var cType: String { cTypeName(fullName) }

  func writeLayout(_ source: inout SourceText) {
    source.block("extension \(swiftType): CLayoutMessage") { source in
      source.block("public static func initialize(_ layout: UnsafeMutablePointer<\(cType)>)") {
        $0.line("\(cFunctionPrefix(fullName))__init(layout)")
      }
      source.line()
      source.block("public static var descriptor: UnsafePointer<ProtobufCMessageDescriptor>") {
        $0.line("var layout = \(cType)()")
        $0.line("initialize(&layout)")
        $0.line("return layout.base.descriptor")
      }
      source.line()
      writeFill(&source)
      source.line()
      writeCopy(&source)
    }
  }

  private func writeFill(_ source: inout SourceText) {
    source.block("public func fill(_ layout: UnsafeMutablePointer<\(cType)>, in arena: inout MessageArena)") { source in
      for field in plainFields {
        let member = cMemberName(field.descriptor.name)
        switch field.shape {
        case .list(let element):
          source.block("(layout.pointee.n_\(member), layout.pointee.\(member)) = arena.list(\(field.name))") {
            $0.line("value, arena in \(toC(element, "value", field, present: true))")
          }
        case .map(let key, let value, let entry):
          writeMapFill(field, key: key, value: value, entry: entry, &source)
        default:
          source.line("layout.pointee.\(member) = \(toC(field.shape, field.name, field, present: false))")
        }
      }
      for oneof in oneofs { writeOneofFill(oneof, &source) }
    }
  }

  private func writeMapFill(
    _ field: Field, key: ScalarShape, value: FieldShape, entry: String, _ source: inout SourceText
  ) {
    let member = cMemberName(field.descriptor.name)
    source.block("(layout.pointee.n_\(member), layout.pointee.\(member)) = arena.map(\(field.name))") { source in
      source.line("entry, arena in")
      source.line("let element = arena.allocate(\(cTypeName(entry)).self)")
      source.line("\(cFunctionPrefix(entry))__init(element)")
      source.line("element.pointee.key = \(toC(.scalar(key), "entry.key", field, present: false))")
      source.line("element.pointee.value = \(toC(value, "entry.value", field, present: true))")
      source.line("return element")
    }
  }

  private func writeOneofFill(_ oneof: Oneof, _ source: inout SourceText) {
    source.line("switch \(oneof.name) {")
    source.line("case nil: break")
    for field in oneof.fields {
      let value = toC(field.shape, "value", field, present: true)
      source.line("case .\(field.name)(let value)?:")
      source.line("  layout.pointee.\(cMemberName(field.descriptor.name)) = \(value)")
      source.line("  layout.pointee.\(oneof.descriptor.name)_case = .init(rawValue: \(field.descriptor.number))")
    }
    source.line("}")
  }

  private func writeCopy(_ source: inout SourceText) {
    source.block("public init(copying layout: UnsafePointer<\(cType)>)") { source in
      if sharesFields { source.line("var fields = Fields()") }
      for field in plainFields {
        let property = copied(field.name)
        let member = "layout.pointee.\(cMemberName(field.descriptor.name))"
        let count = "layout.pointee.n_\(cMemberName(field.descriptor.name))"
        switch field.shape {
        case .list(let element):
          source.line("\(property) = copied(\(count), \(member)) { \(fromC(element, "$0", field)) }")
        case .map(let key, let value, _):
          let key = fromC(.scalar(key), "$0.pointee.key", field)
          let value = mapValueFromC(value, field)
          source.line("\(property) = copiedMap(\(count), \(member)) { (\(key), \(value)) }")
        case .message(let name):
          source.line("if let value = \(member) { \(property) = \(name)(copying: value) }")
        case .timestamp:
          source.line("if let value = \(member) { \(property) = Timestamp(copying: value) }")
        default:
          source.line("\(property) = \(fromC(field.shape, member, field))")
        }
      }
      for oneof in oneofs { writeOneofCopy(oneof, &source) }
      if sharesFields { source.line("sharedFields = SharedFields(fields)") }
    }
  }

  /// What a property's value is put into when a message is made of protoc-c's struct.
  private func copied(_ property: String) -> String { sharesFields ? "fields.\(property)" : property }

  private func writeOneofCopy(_ oneof: Oneof, _ source: inout SourceText) {
    let property = copied(oneof.name)
    source.line("switch layout.pointee.\(oneof.descriptor.name)_case.rawValue {")
    for field in oneof.fields {
      let member = "layout.pointee.\(cMemberName(field.descriptor.name))"
      let number = field.descriptor.number
      switch field.shape {
      case .message(let name):
        source.line("case \(number): \(property) = \(member).map { .\(field.name)(\(name)(copying: $0)) }")
      case .timestamp:
        source.line("case \(number): \(property) = \(member).map { .\(field.name)(Timestamp(copying: $0)) }")
      case .wrapper:
        source.line("case \(number): \(property) = unwrapped(\(member)).map { .\(field.name)($0) }")
      default:
        source.line("case \(number): \(property) = .\(field.name)(\(fromC(field.shape, member, field)))")
      }
    }
    source.line("default: break")
    source.line("}")
  }

  /// The C value of `value`. A value that is present where its absence could be told is written even at its default.
  private func toC(_ shape: FieldShape, _ value: String, _ field: Field, present: Bool) -> String {
    switch shape {
    case .scalar(let scalar):
      switch scalar.swift {
      case "String": return present ? "arena.presentString(\(value))" : "arena.string(\(value))"
      case "[UInt8]": return "arena.bytes(\(value))"
      case "Bool": return "\(value) ? 1 : 0"
      default: return value
      }
    case .enumeration: return ".init(rawValue: .init(truncatingIfNeeded: \(value).rawValue))"
    case .message: return present ? "arena.presentMessage(\(value))" : "arena.message(\(value))"
    case .wrapper: return "arena.wrapper(\(value))"
    case .timestamp: return "arena.timestamp(\(value))"
    case .list, .map: return value
    }
  }

  private func fromC(_ shape: FieldShape, _ value: String, _ field: Field) -> String {
    switch shape {
    case .scalar(let scalar):
      switch scalar.swift {
      case "String": return "copiedString(\(value))"
      case "[UInt8]": return "copiedBytes(\(value))"
      case "Bool": return "\(value) != 0"
      default: return value
      }
    case .enumeration(let name): return "\(name)(rawValue: Int32(truncatingIfNeeded: \(value).rawValue))"
    case .message(let name): return "\(name)(copying: \(value))"
    case .timestamp: return "Timestamp(copying: \(value))"
    case .wrapper: return "unwrapped(\(value))"
    case .list, .map: return value
    }
  }

  /// An entry of a map may lack its value: then the value is the default.
  private func mapValueFromC(_ shape: FieldShape, _ field: Field) -> String {
    switch shape {
    case .message(let name): "$0.pointee.value.map { \(name)(copying: $0) } ?? \(name)()"
    case .timestamp: "$0.pointee.value.map { Timestamp(copying: $0) } ?? Timestamp()"
    default: fromC(shape, "$0.pointee.value", field)
    }
  }
}
