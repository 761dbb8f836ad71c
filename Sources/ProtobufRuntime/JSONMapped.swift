/// A value with a place in the protobuf JSON mapping, which differs from what `Codable` does on its own: 64-bit integers
/// are strings, bytes are base64.
public protocol JSONMapped {
  init(json decoder: any Decoder) throws
  func encodeJSON(to encoder: any Encoder) throws

  /// A plain field with this value is left out.
  var isProtobufDefault: Bool { get }
}

extension Message {
  public init(json decoder: any Decoder) throws { try self.init(from: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encode(to: encoder) }
  /// A message that is there is written, even if nothing is set in it.
  public var isProtobufDefault: Bool { false }
}

/// Carries a mapped value through `Codable` containers.
struct JSONBox<Value: JSONMapped>: Codable {
  var value: Value

  init(_ value: Value) { self.value = value }
  init(from decoder: any Decoder) throws { value = try Value(json: decoder) }
  func encode(to encoder: any Encoder) throws { try value.encodeJSON(to: encoder) }
}

extension String: JSONMapped {
  public init(json decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    self = try container.decode(String.self)
    if utf8.contains(0) {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "the string contains a NUL")
    }
  }

  public func encodeJSON(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(self)
  }

  public var isProtobufDefault: Bool { isEmpty }
}

extension Bool: JSONMapped {
  public init(json decoder: any Decoder) throws { self = try decoder.singleValueContainer().decode(Bool.self) }

  public func encodeJSON(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(self)
  }

  public var isProtobufDefault: Bool { !self }
}

extension FixedWidthInteger where Self: Codable {
  /// A number, or a string that holds one.
  fileprivate init(numberOrString decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      guard let number = Self(text) else {
        let problem = "'\(text)' is no whole number of \(Self.min) ... \(Self.max)"
        throw DecodingError.dataCorruptedError(in: container, debugDescription: problem)
      }
      self = number
    } else {
      self = try container.decode(Self.self)
    }
  }

  fileprivate func encodePlain(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(self)
  }

  fileprivate func encodeAsString(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(String(self))
  }
}

extension Int32: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodePlain(to: encoder) }
  public var isProtobufDefault: Bool { self == 0 }
}

extension UInt32: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodePlain(to: encoder) }
  public var isProtobufDefault: Bool { self == 0 }
}

extension Int64: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodeAsString(to: encoder) }
  public var isProtobufDefault: Bool { self == 0 }
}

extension UInt64: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodeAsString(to: encoder) }
  public var isProtobufDefault: Bool { self == 0 }
}
