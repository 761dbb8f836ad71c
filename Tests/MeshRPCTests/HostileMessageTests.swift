import MeshRPC
import Messages
import Testing

/// Messages that libprotobuf-c alone would not survive, or not notice, on their way through a server and a client: an
/// error for the one call, and the connection goes on.
@Suite struct HostileMessageTests {
  /// A backup's chunk is one field of bytes, number 1: to a server that takes a list of claims it is a claim of any bytes,
  /// to a client that takes a text it is that text.
  private static let sending = MethodDescriptor<BackupChunk, Text>(service: "test.Hostile", method: "Take")
  private static let taking = MethodDescriptor<ListClaimsResponse, Text>(service: "test.Hostile", method: "Take")
  private static let answering = MethodDescriptor<BackupChunk, BackupChunk>(service: "test.Hostile", method: "Say")
  private static let hearing = MethodDescriptor<BackupChunk, Text>(service: "test.Hostile", method: "Say")

  private static let service = TestService { router in
    router.unary(taking) { list, _ in Text(list.claims.first?.name ?? "") }
    router.unary(answering) { chunk, _ in chunk }
  }

  static func field(_ number: UInt8, _ payload: [UInt8]) -> [UInt8] {
    var length = payload.count
    var bytes = [number << 3 | 2]
    while length >= 0x80 {
      bytes.append(UInt8(length & 0x7f) | 0x80)
      length >>= 7
    }
    return bytes + [UInt8(length)] + payload
  }

  static func repeated(_ count: Int, _ bytes: [UInt8]) -> [UInt8] { (0..<count).flatMap { _ in bytes } }

  private static let refused: [(claim: [UInt8], words: String)] = [
    (field(1, Array("a\0b".utf8)), "contains a NUL"),
    (field(1, [0x61, 0xC0, 0x80]), "not valid UTF-8"),
    (field(1, [0xED, 0xA0, 0x80]), "not valid UTF-8"),
    (field(4, repeated(1 << 20, field(2, []))), "too many elements"),
    (repeated(1 << 20, [0x78, 0x00]), "too many elements"),
    (repeated(20_000, field(4, repeated(50, field(2, [])))), "too many elements"),
    ([0x0b, 0x0c], "wire type 3"),
    ([0x0a, 0x05, 0x61], "truncated"),
  ]

  @Test func whatIsNoMessageEndsItsCallAlone() async throws {
    try await withServer(Self.service) { channel in
      for (claim, words) in Self.refused {
        let error = await rpcError { _ = try await channel.unary(Self.sending, BackupChunk { $0.data = claim }) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "") lacks '\(words)'")
        try await channel.expectEcho("others are not disturbed")
      }
    }
  }

  private static let taken: [(claim: [UInt8], name: String)] = [
    (field(1, Array("first".utf8)) + field(1, Array("last".utf8)), "last"),
    (field(15, [1, 2, 3]) + field(1, Array("known".utf8)) + [0x78, 0x07], "known"),
    // Unknown fields are not entered, however deep they nest.
    (
      (0..<2000).reduce(field(1, Array("deep".utf8))) { bytes, _ in field(15, bytes) } + field(1, Array("top".utf8)),
      "top"
    ),
  ]

  @Test func duplicateAndUnknownFieldsAreTakenAsProtobufSays() async throws {
    try await withServer(Self.service) { channel in
      for (claim, name) in Self.taken {
        let answer = try await channel.unary(Self.sending, BackupChunk { $0.data = claim })
        #expect(answer.name == name)
      }
    }
  }

  @Test(arguments: [("a\0b".utf8.map { $0 }, "contains a NUL"), ([0xFF], "not valid UTF-8")] as [([UInt8], String)])
  func anAnswerThatIsNoMessageIsAnErrorOfItsCall(bytes: [UInt8], words: String) async throws {
    try await withServer(Self.service) { channel in
      let error = await rpcError { _ = try await channel.unary(Self.hearing, BackupChunk { $0.data = bytes }) }
      #expect(error?.code == .internalError)
      #expect(error?.message.contains(words) == true)
      try await channel.expectEcho("the connection goes on")
    }
  }
}
