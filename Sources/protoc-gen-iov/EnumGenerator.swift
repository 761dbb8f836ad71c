/// Writes the Swift face of an enum. A number that this build does not know is kept as `unrecognized`.
struct EnumGenerator {
  private struct Case {
    var name: String
    var value: EnumDescriptor.Value
  }

  private let enumeration: EnumDescriptor
  private let cases: [Case]

  init(_ enumeration: EnumDescriptor) {
    self.enumeration = enumeration
    cases = enumeration.values.map { value in
      Case(name: swiftName(enumCaseName(value.name, of: enumeration.name)), value: value)
    }
  }

  func write(_ source: inout SourceText) {
    source.documentation(enumeration.documentation)
    source.block("public enum \(enumeration.name): MessageEnumeration") { source in
      for enumCase in cases {
        source.documentation(enumCase.value.documentation)
        source.line("case \(enumCase.name)")
      }
      source.line("/// A number that this version does not know; treated like the zero value.")
      source.line("case unrecognized(Int32)")
      source.line()
      writeRawValue(&source)
      source.line()
      let all = cases.map { "." + $0.name }.joined(separator: ", ")
      source.line("/// The values that this version knows.")
      source.line("public static var allCases: [\(enumeration.name)] { [\(all)] }")
      source.line()
      source.block("public var protobufName: String?") { source in
        source.line("switch self {")
        for enumCase in cases { source.line("case .\(enumCase.name): \"\(enumCase.value.name)\"") }
        source.line("case .unrecognized: nil")
        source.line("}")
      }
    }
  }

  private func writeRawValue(_ source: inout SourceText) {
    source.block("public init(rawValue: Int32)") { source in
      source.line("switch rawValue {")
      for enumCase in cases { source.line("case \(enumCase.value.number): self = .\(enumCase.name)") }
      source.line("default: self = .unrecognized(rawValue)")
      source.line("}")
    }
    source.line()
    source.block("public var rawValue: Int32") { source in
      source.line("switch self {")
      for enumCase in cases { source.line("case .\(enumCase.name): \(enumCase.value.number)") }
      source.line("case .unrecognized(let number): number")
      source.line("}")
    }
  }
}
