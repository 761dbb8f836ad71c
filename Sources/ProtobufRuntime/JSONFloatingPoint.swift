// JSON has no NaN and no infinities: protobuf writes them as strings.

extension BinaryFloatingPoint where Self: Codable & LosslessStringConvertible {
  fileprivate init(numberOrString decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let text = try? container.decode(String.self) else {
      self = try container.decode(Self.self)
      return
    }
    switch text {
    case "NaN": self = .nan
    case "Infinity": self = .infinity
    case "-Infinity": self = -.infinity
    default:
      guard let number = Self(text), number.isFinite else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is no number")
      }
      self = number
    }
  }

  fileprivate func encodeNumber(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if isFinite {
      try container.encode(self)
    } else {
      try container.encode(isNaN ? "NaN" : self > 0 ? "Infinity" : "-Infinity")
    }
  }
}

extension Double: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodeNumber(to: encoder) }
  /// Minus zero is not the default.
  public var isProtobufDefault: Bool { bitPattern == 0 }
}

extension Float: JSONMapped {
  public init(json decoder: any Decoder) throws { try self.init(numberOrString: decoder) }
  public func encodeJSON(to encoder: any Encoder) throws { try encodeNumber(to: encoder) }
  public var isProtobufDefault: Bool { bitPattern == 0 }
}
