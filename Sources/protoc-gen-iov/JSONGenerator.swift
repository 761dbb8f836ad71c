// The protobuf JSON mapping of a message, as Codable.

extension MessageGenerator {
  func writeJSON(_ source: inout SourceText) {
    source.block("extension \(swiftType)") { source in
      writeDecoding(&source)
      source.line()
      writeEncoding(&source)
    }
  }

  private func writeDecoding(_ source: inout SourceText) {
    source.block("public init(from decoder: any Decoder) throws") { source in
      let names = fields.map { "\"\($0.descriptor.jsonName)\"" }.joined(separator: ", ")
      let binding = fields.isEmpty ? "_" : "let fields"
      source.line("\(binding) = try MessageFieldsReader(decoder, of: Self.fullName, names: [\(names)])")
      if sharesFields { source.line("self.init()") }
      for field in plainFields {
        source.line("try fields.read(\"\(field.descriptor.jsonName)\", into: &\(field.name))")
      }
      for oneof in oneofs {
        for field in oneof.fields {
          source.line(
            "try fields.read(\"\(field.descriptor.jsonName)\", into: &\(oneof.name)) { .\(field.name)($0) }")
        }
      }
    }
  }

  private func writeEncoding(_ source: inout SourceText) {
    source.block("public func encode(to encoder: any Encoder) throws") { source in
      let binding = fields.isEmpty ? "_" : "var fields"
      source.line("\(binding) = MessageFieldsWriter(encoder)")
      for field in plainFields {
        source.line("try fields.write(\"\(field.descriptor.jsonName)\", \(field.name))")
      }
      for oneof in oneofs {
        source.line("switch \(oneof.name) {")
        source.line("case nil: break")
        for field in oneof.fields {
          source.line(
            "case .\(field.name)(let value)?: "
              + "try fields.write(\"\(field.descriptor.jsonName)\", Optional(value))")
        }
        source.line("}")
      }
    }
  }
}
