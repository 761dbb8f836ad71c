import Messages
import Testing

/// What a peer can send that libprotobuf-c alone would not survive, or not notice.
@Suite struct HostileBytesTests {
  private func complaint<Value: Message>(_ type: Value.Type, _ bytes: [UInt8]) -> String? {
    do {
      _ = try Value(decoding: bytes)
      return nil
    } catch {
      return error.description
    }
  }

  @Test func anEmbeddedNULIsRefused() {
    let problem = complaint(GetClaimRequest.self, field(1, Array("a\0b".utf8)))
    #expect(problem == "iov.v1.GetClaimRequest: string field 'name' contains a NUL")
    #expect(complaint(GetClaimRequest.self, field(1, Array("longer than eight\0".utf8))) == problem)
  }

  @Test(
    arguments: [
      [0x80], [0xC3], [0xC0, 0x80], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF],
      [0xE2, 0x82], [0xF0, 0x9F, 0x98], [0xC3, 0x28], [0xF0, 0x8F, 0xBF, 0xBF],
    ] as [[UInt8]])
  func badUTF8IsRefused(sequence: [UInt8]) {
    for prefix in ["", "12345678"] {
      let problem = complaint(GetClaimRequest.self, field(1, Array(prefix.utf8) + sequence))
      #expect(problem == "iov.v1.GetClaimRequest: string field 'name' is not valid UTF-8")
    }
  }

  @Test(arguments: ["é", "€", "😀", "a😀b€c", "\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10000}\u{10FFFF}"])
  func goodUTF8IsTaken(text: String) throws {
    #expect(try GetClaimRequest(decoding: field(1, Array(text.utf8))).name == text)
  }

  @Test func everyTruncationOfAClaimIsAnErrorOrAShorterClaim() {
    for count in 0..<Samples.claimBytes.count {
      let start = Array(Samples.claimBytes.prefix(count))
      if let claim = try? Claim(decoding: start) { #expect(claim != Samples.claim) }
    }
    #expect(complaint(Claim.self, [0x0a]) == "iov.v1.Claim: field 'name' is truncated or malformed (wire type 2)")
    #expect(complaint(Claim.self, [0x0a, 5, 0x61]) != nil)
  }

  @Test func noSingleByteChangeDoesHarm() {
    for position in Samples.claimBytes.indices {
      for value in UInt8.min...UInt8.max {
        var bytes = Samples.claimBytes
        bytes[position] = value
        guard let claim = try? Claim(decoding: bytes) else { continue }
        #expect((try? Claim(decoding: claim.encoded())) == claim)
      }
    }
  }

  @Test func aLengthBeyondTheEndIsRefused() {
    for length: UInt64 in [2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, .max] {
      #expect(complaint(GetClaimRequest.self, [0x0a] + varint(length) + [0x61]) != nil)
    }
  }

  @Test func malformedTagsAreRefused() {
    let malformed: [[UInt8]] = [[0x00], [0x80], [0x80, 0x80, 0x80, 0x80, 0x80, 0x01], varint(1 << 36), [0x02, 0x00]]
    for bytes in malformed {
      #expect(complaint(GetClaimRequest.self, bytes)?.contains("malformed tag") == true)
    }
  }

  @Test func groupsAndUnknownWireTypesAreRefused() {
    for wireType: UInt8 in [3, 4, 6, 7] {
      #expect(complaint(GetClaimRequest.self, [0x78 | wireType, 0, 0, 0, 0, 0, 0, 0, 0]) != nil)
    }
  }

  @Test func aWrongWireTypeNamesTheField() {
    let problem = complaint(GetClaimRequest.self, field(1, 5))
    #expect(problem == "iov.v1.GetClaimRequest: field 'name' has wire type 0 instead of 2")
    #expect(complaint(Claim.self, field(6, [1]))?.contains("'revision'") == true)
  }

  @Test func aNumberOfElevenBytesIsRefused() {
    #expect(complaint(Heartbeat.self, [0x08] + [UInt8](repeating: 0xff, count: 10) + [0x01]) != nil)
    #expect(complaint(DescribeRequest.self, field(1, [0xff])) != nil)
  }

  @Test func aFloodOfEmptySubmessagesIsRefusedBeforeItIsUnpacked() {
    let flood = [UInt8]((0..<2 << 20).flatMap { _ in [0x0a, 0x00] as [UInt8] })
    let problem = complaint(ListClaimsResponse.self, flood)
    #expect(problem?.contains("too many elements") == true, "\(problem ?? "taken")")
    #expect(complaint(ListEndNodesResponse.self, flood) != nil)
  }

  @Test func aFloodOfUnknownFieldsIsRefused() {
    let flood = [UInt8]((0..<2 << 20).flatMap { _ in [0x78, 0x00] as [UInt8] })
    #expect(complaint(GetClaimRequest.self, flood)?.contains("too many elements") == true)
  }

  @Test func repeatingASubmessageToMergeItDoesNotMultiplyMemory() {
    // Each merge copies the list that has grown so far.
    let status = field(4, (0..<50).flatMap { _ in field(2, []) })
    let bytes = (0..<20_000).flatMap { _ in status }
    #expect(complaint(Claim.self, bytes) != nil)
  }

  @Test func nestingIsBounded() {
    // No message of the vocabulary nests deeply, so depth comes from unknown fields only, which are not entered.
    var bytes: [UInt8] = []
    for _ in 0..<10_000 { bytes = field(15, bytes) }
    #expect(throws: Never.self) { try GetClaimRequest(decoding: bytes) }
  }

  @Test func unknownFieldsAreSkipped() throws {
    let unknown = field(100, [1, 2, 3]) + field(101, 7) + [0xb1, 0x06] + [UInt8](repeating: 0, count: 8)
    let bytes = unknown + field(1, Array("x".utf8)) + unknown + [0xb5, 0x06, 0, 0, 0, 0]
    #expect(try GetClaimRequest(decoding: bytes) == GetClaimRequest { $0.name = "x" })
  }

  @Test func theLastOfTwoScalarsCounts() throws {
    let bytes = field(1, Array("first".utf8)) + field(1, Array("last".utf8))
    #expect(try GetClaimRequest(decoding: bytes).name == "last")
  }

  @Test func submessagesThatComeTwiceAreMerged() throws {
    let bytes = field(3, field(1, Array("ethernet".utf8))) + field(3, field(2, Array("h".utf8)))
    let claim = try Claim(decoding: bytes)
    #expect(claim.specification?.deviceClass == "ethernet")
    #expect(claim.specification?.host == "h")
  }

  @Test func theLastMemberOfAOneofCounts() throws {
    let bytes = field(1, []) + field(2, field(1, Array("blue".utf8)))
    let consumer = try Consumer(decoding: bytes)
    #expect(consumer.kind == .networkNamespace(NetworkNamespaceConsumer { $0.name = "blue" }))
    #expect(try Consumer(decoding: bytes + field(1, [])).kind == .host(HostConsumer()))
  }

  @Test func aMapKeyThatComesTwiceHasItsLastValue() throws {
    let entries = ["1", "2"].flatMap { field(4, field(1, Array("a".utf8)) + field(2, Array($0.utf8))) }
    #expect(try Host(decoding: entries).labels == ["a": "2"])
    #expect(try Host(decoding: field(4, [])).labels == ["": ""])
  }
}
