import CProtobufC

/// A message with a struct that protoc-c has laid out, by which libprotobuf-c packs and unpacks it. Generated code
/// conforms to it.
public protocol CLayoutMessage: Message {
  /// protoc-c's struct.
  associatedtype Layout

  /// Every field at its default.
  static func initialize(_ layout: UnsafeMutablePointer<Layout>)

  static var descriptor: UnsafePointer<ProtobufCMessageDescriptor> { get }

  /// Writes the fields to an initialized struct; what they point at lives in `arena`.
  func fill(_ layout: UnsafeMutablePointer<Layout>, in arena: inout MessageArena)

  /// Copies an unpacked struct, whose strings have been found valid.
  init(copying layout: UnsafePointer<Layout>)
}

extension CLayoutMessage {
  @inlinable
  public init(decoding bytes: UnsafeRawBufferPointer) throws(MessageDecodingError) {
    let decoder = MessageDecoder(bytes, descriptor: Self.descriptor)
    var value = Self()
    try decoder.decode { value = Self(copying: $0.assumingMemoryBound(to: Layout.self)) }
    self = value
  }

  @inlinable
  public func withPackedMessage<Result>(_ body: (PackedMessage) throws -> Result) rethrows -> Result {
    try withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 16) { chunk in
      var arena = MessageArena(first: chunk)
      let layout = arena.presentMessage(self)
      return try body(PackedMessage(UnsafeRawPointer(layout).assumingMemoryBound(to: ProtobufCMessage.self)))
    }
  }
}
