import HTTP2Session
import Testing

@Suite struct HTTP2SessionTests {
  @Test(arguments: [1, 2, 7, 1000, Int.max])
  func aRequestAndItsAnswerPassInPiecesOfAnySize(pieceByteCount: Int) throws {
    let pair = try Pair()
    pair.pieceByteCount = pieceByteCount
    let stream = try pair.client.submitRequest(request)
    pair.client.send(on: stream, Array("question".utf8))
    pair.client.finish(stream)
    try pair.exchange()
    #expect(pair.serverSaw.headers(of: stream) == [[":method: POST", ":scheme: http", ":path: /a/b", ":authority: x"]])
    #expect(pair.serverSaw.bodies[stream] == Array("question".utf8))
    #expect(pair.serverSaw.contains(.bodyEnded(stream: stream)))
    #expect(pair.clientSaw.contains(.endSent(stream: stream)))

    try pair.server.submitResponse(stream, response)
    pair.server.send(on: stream, Array("answer".utf8))
    pair.server.finish(stream, trailers: HeaderList([("grpc-status", "0")]))
    try pair.exchange()
    #expect(pair.clientSaw.headers(of: stream) == [[":status: 200"], ["grpc-status: 0"]])
    #expect(pair.clientSaw.bodies[stream] == Array("answer".utf8))
    #expect(pair.clientSaw.contains(.closed(stream: stream, errorCode: ErrorCode.none)))
    #expect(pair.serverSaw.contains(.closed(stream: stream, errorCode: ErrorCode.none)))
  }

  @Test func eachSideHearsThatTheOtherSpeaksHTTP2() throws {
    let pair = try Pair()
    try pair.exchange()
    #expect(pair.clientSaw.contains(.settingsReceived))
    #expect(pair.serverSaw.contains(.settingsReceived))
  }

  @Test func aBodyStopsAtTheWindowUntilItsReaderGivesCredit() throws {
    var settings = SessionSettings()
    settings.streamWindowByteCount = 100_000
    let pair = try Pair(server: settings)
    try pair.exchange()
    let body = (0..<250_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let stream = try pair.client.submitRequest(request)
    pair.client.send(on: stream, body)
    pair.client.finish(stream)
    try pair.exchange()
    #expect(pair.serverSaw.bodies[stream]?.count == 100_000)
    #expect(pair.client.unsentByteCount(stream) == 150_000)

    while let count = pair.serverSaw.bodies[stream]?.count, count < body.count {
      pair.server.creditConnection(100_000)
      pair.server.creditStream(stream, 100_000)
      try pair.exchange()
      guard let now = pair.serverSaw.bodies[stream]?.count, now > count else {
        Issue.record("the credit did not move the body on from \(count)")
        return
      }
    }
    #expect(pair.serverSaw.bodies[stream] == body)
    #expect(pair.serverSaw.contains(.bodyEnded(stream: stream)))
  }

  @Test(arguments: [300, 65_536, 300_000])
  func whatStaysWithItsOwnerLeavesInOrderWithWhatIsCopied(creditByteCount: Int) throws {
    var settings = SessionSettings()
    settings.streamWindowByteCount = 1000
    let pair = try Pair(server: settings)
    try pair.exchange()
    let stream = try pair.client.submitRequest(request)
    var body: [UInt8] = []
    for (number, byteCount) in [3, 700, 0, 40_000, 1, 9, 20_000, 5].enumerated() {
      let part = [UInt8](repeating: UInt8(number), count: byteCount)
      body += part
      if number.isMultiple(of: 2) {
        pair.client.send(on: stream, part)
      } else {
        pair.client.send(on: stream, owner: Kept(part), byteCount: byteCount)
      }
    }
    pair.client.finish(stream)
    #expect(pair.client.unsentByteCount(stream) == body.count)
    try pair.exchange()
    var rounds = 0
    while !pair.serverSaw.contains(.bodyEnded(stream: stream)), rounds < body.count {
      pair.server.creditConnection(creditByteCount)
      pair.server.creditStream(stream, creditByteCount)
      // libnghttp2 sends no window update for less than half a window.
      try pair.exchange()
      rounds += 1
    }
    #expect(pair.serverSaw.bodies[stream] == body)
  }

  @Test func aStreamWithoutCreditStopsNoOther() throws {
    var settings = SessionSettings()
    settings.streamWindowByteCount = 65_536
    let pair = try Pair(server: settings)
    try pair.exchange()
    let stuck = try pair.client.submitRequest(request)
    pair.client.send(on: stuck, [UInt8](repeating: 1, count: 200_000))
    let free = try pair.client.submitRequest(request)
    pair.client.send(on: free, Array("through".utf8))
    try pair.exchange()
    #expect(pair.serverSaw.bodies[stuck]?.count == 65_536)
    #expect(pair.serverSaw.bodies[free] == Array("through".utf8))
  }

  @Test func aLimitStopsTheOutputAndKeepsTheRest() throws {
    let pair = try Pair()
    try pair.exchange()
    let stream = try pair.client.submitRequest(request)
    pair.client.send(on: stream, [UInt8](repeating: 7, count: 200_000))
    pair.client.finish(stream)
    var pieces: [Int] = []
    while true {
      var byteCount = 0
      try pair.client.outgoingBytes(limit: 20_000) { bytes, _ in
        byteCount = bytes.count
        pair.serverSaw.add((try? pair.server.receive(bytes)) ?? [], Array(bytes))
      }
      if byteCount == 0 { break }
      pieces.append(byteCount)
    }
    // One frame of 64 KiB may be put on top of what is just below the limit.
    #expect(pieces.allSatisfy { $0 < 20_000 + (65 << 10) })
    #expect(pair.serverSaw.bodies[stream]?.count == 200_000)
  }

  @Test func aResetEndsTheStreamOnBothSidesAndDropsWhatIsWrittenAfter() throws {
    let pair = try Pair()
    let stream = try pair.client.submitRequest(request)
    try pair.exchange()
    pair.client.reset(stream, ErrorCode.cancel)
    try pair.exchange()
    #expect(pair.serverSaw.contains(.closed(stream: stream, errorCode: ErrorCode.cancel)))
    #expect(pair.clientSaw.contains(.closed(stream: stream, errorCode: ErrorCode.cancel)))
    try pair.server.submitResponse(stream, response)
    pair.server.send(on: stream, Array("too late".utf8))
    pair.server.finish(stream)
    pair.client.send(on: stream, Array("too late".utf8))
    try pair.exchange()
    #expect(pair.server.unsentByteCount(stream) == 0)
    #expect(pair.clientSaw.headers(of: stream).isEmpty)
    #expect(pair.client.isAlive && pair.server.isAlive)
  }

  @Test func aRequestThatIsGivenUpBeforeItsTurnEndsToo() throws {
    var settings = SessionSettings()
    settings.maximumConcurrentStreams = 1
    let pair = try Pair(server: settings)
    try pair.exchange()
    let first = try pair.client.submitRequest(request)
    let second = try pair.client.submitRequest(request)
    try pair.exchange()
    #expect(pair.serverSaw.headers(of: second).isEmpty)
    pair.client.reset(second, ErrorCode.cancel)
    try pair.server.submitWholeResponse(first, response)
    pair.client.finish(first)
    try pair.exchange()
    #expect(pair.clientSaw.events.count { if case .closed(second, _) = $0 { true } else { false } } == 1)
    #expect(pair.serverSaw.headers(of: second).isEmpty)
  }

  @Test func aRequestThatIsGivenUpBeforeItLeftIsOverOnce() throws {
    let pair = try Pair()
    let stream = try pair.client.submitRequest(request)
    pair.client.reset(stream, ErrorCode.cancel)
    try pair.exchange()
    #expect(pair.clientSaw.events.count { if case .closed(stream, _) = $0 { true } else { false } } == 1)
    #expect(pair.serverSaw.headers(of: stream).isEmpty)
  }

  @Test func headersAboveTheLimitAreToldAndTheirFieldsDropped() throws {
    var settings = SessionSettings()
    settings.maximumHeaderListByteCount = 1000
    let pair = try Pair(server: settings)
    try pair.exchange()
    var long = request
    for number in 0..<100 { long.append("x-\(number)", String(repeating: "v", count: 100)) }
    let stream = try pair.client.submitRequest(long)
    let next = try pair.client.submitRequest(request)
    try pair.exchange()
    #expect(pair.serverSaw.contains(.headersTooLong(stream: stream)))
    #expect(pair.serverSaw.headers(of: stream).isEmpty)
    #expect(pair.serverSaw.headers(of: next).count == 1)
  }

  @Test func aGoodbyeNamesTheLastStreamThatWasTaken() throws {
    let pair = try Pair()
    let stream = try pair.client.submitRequest(request)
    try pair.exchange()
    pair.server.goAway(ErrorCode.none)
    try pair.exchange()
    #expect(pair.clientSaw.contains(.goAway(lastStream: stream, errorCode: ErrorCode.none)))
    // What was taken may still end well.
    try pair.server.submitWholeResponse(stream, response)
    pair.client.finish(stream)
    try pair.exchange()
    #expect(pair.clientSaw.headers(of: stream) == [[":status: 200"]])
  }

  @Test func aPingIsAnswered() throws {
    let pair = try Pair()
    try pair.exchange()
    pair.client.ping()
    var ping: [UInt8] = []
    try pair.client.outgoingBytes { copied, _ in ping += copied }
    _ = try pair.server.receive(ping)
    var answer: [UInt8] = []
    try pair.server.outgoingBytes { copied, _ in answer += copied }
    // RFC 9113 §6.7: type 6, flag ACK.
    #expect(answer.count == 17 && answer[3] == 6 && answer[4] == 1)
  }

  // MARK: Peers that do not keep to the protocol

  @Test func aServerRefusesWhatIsNoHTTP2() throws {
    let server = try HTTP2Session(.server)
    #expect(throws: HTTP2Error.self) { try server.receive(Array("GET / HTTP/1.1\r\n\r\n".utf8)) }
  }

  @Test func randomBytesAfterThePrefaceAreAnErrorOrIgnoredAndNeverATrap() throws {
    let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    for seed in 0..<2000 as Range<UInt64> {
      var random = SplitMix(state: seed)
      let server = try HTTP2Session(.server)
      var bytes = preface + [0, 0, 0, 4, 0, 0, 0, 0, 0]
      for _ in 0..<8 {
        // Frames with lengths that are true, of all types, on low streams: deeper than noise gets.
        let length = Int.random(in: 0...40, using: &random)
        bytes += [0, 0, UInt8(length), .random(in: 0...10, using: &random), .random(in: 0...255, using: &random)]
        bytes += [0, 0, 0, .random(in: 0...5, using: &random)]
        for _ in 0..<length { bytes.append(.random(in: 0...255, using: &random)) }
      }
      guard let events = try? server.receive(bytes) else { continue }
      for case .headers(let stream, _, _) in events { try? server.submitWholeResponse(stream, response) }
      try? server.outgoingBytes { _, _ in }
    }
  }

  @Test func bytesOfAStreamThatNeverWasAreAnError() throws {
    let pair = try Pair()
    try pair.exchange()
    var refusal: [UInt8] = []
    // DATA on stream 5, which is idle: a connection error (RFC 9113 §5.1).
    #expect((try? pair.server.receive([0, 0, 1, 0, 0, 0, 0, 0, 5, 42]))?.isEmpty ?? true)
    try? pair.server.outgoingBytes { copied, _ in refusal += copied }
    #expect(refusal.count > 9 && refusal[3] == 7, "a GOAWAY says why")
    #expect(!pair.server.isAlive)
  }
}

/// A small generator with a seed: the same bytes on every run.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
