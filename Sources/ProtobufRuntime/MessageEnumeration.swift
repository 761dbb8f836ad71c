/// A protobuf enum. Numbers that this build does not know are kept, so that a message passes through unharmed.
public protocol MessageEnumeration: Sendable, Hashable, Codable, CaseIterable, JSONMapped {
  /// The value of that number; `unrecognized` if this build knows none.
  init(rawValue: Int32)

  /// The number on the wire.
  var rawValue: Int32 { get }

  /// The name in the .proto, for example `PATH_DIRECT_SOFTWARE`; nil if this build does not know the number.
  var protobufName: String? { get }
}

extension MessageEnumeration {
  /// Takes the name in the .proto, or a number.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let number = try? container.decode(Int32.self) {
      self.init(rawValue: number)
      return
    }
    let name = try container.decode(String.self)
    guard let known = Self.allCases.first(where: { $0.protobufName == name }) else {
      let names = Self.allCases.compactMap(\.protobufName)
      let text = "'\(name)' is no \(Self.self)" + suggestion(for: name, among: names)
      throw DecodingError.dataCorruptedError(in: container, debugDescription: text)
    }
    self = known
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let protobufName { try container.encode(protobufName) } else { try container.encode(rawValue) }
  }

  public init(json decoder: any Decoder) throws { try self.init(from: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encode(to: encoder) }
  public var isProtobufDefault: Bool { rawValue == 0 }
}
