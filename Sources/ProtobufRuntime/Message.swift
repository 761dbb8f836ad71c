/// A protobuf message as a Swift value.
///
/// `Codable` is the protobuf JSON mapping: lowerCamelCase names, 64-bit integers as strings, unset fields left out, an
/// unknown field is an error.
public protocol Message: Sendable, Hashable, Codable, JSONMapped {
  /// The full protobuf name, for example `iov.v1.Claim`.
  static var fullName: String { get }

  /// Every field at its default.
  init()

  /// Decodes the protobuf wire format. `bytes` holds exactly one message.
  init(decoding bytes: UnsafeRawBufferPointer) throws(MessageDecodingError)

  /// Hands the message, ready to be packed, to `body`; it is valid only inside.
  func withPackedMessage<Result>(_ body: (PackedMessage) throws -> Result) rethrows -> Result
}

extension Message {
  /// A message with the fields that `build` sets: `Claim { $0.name = "x" }`.
  @inlinable
  public init(_ build: (inout Self) throws -> Void) rethrows {
    self.init()
    try build(&self)
  }
}
